"""Texts with the roles that their tokens took, ready to be shown."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from mm_models.layers.transformer.block_inputs import AttentionTrace
from mm_models.r3.config import R3Config
from mm_models.r3.relations import Grid, TokenRelations, text_relations
from mm_models.text.sentence_pieces import SentencePieceTokenizer


@dataclasses.dataclass(frozen=True)
class RoleText:
    """One text about a clip, and what its roles look at.

    Attributes:
        text: what is written.
        pieces: its tokens as `SentencePieceTokenizer.pieces` gives them.
        relations: of the tokens, by the attention's name, see `R3Model.traces`.
        grid: of the steps that the clip has.
        key: of the clip.
        references: right texts.
        frames: JPEG of a frame of each step, or none.
    """

    text: str
    pieces: tuple[str, ...]
    relations: Mapping[str, TokenRelations]
    grid: Grid
    key: str = ""
    references: tuple[str, ...] = ()
    frames: tuple[bytes, ...] = ()


def role_texts(
    traces: Mapping[str, AttentionTrace],
    ids: np.ndarray,
    token_mask: np.ndarray,
    config: R3Config,
    tokenizer: SentencePieceTokenizer,
) -> Iterator[RoleText]:
    """The text of each row.

    Args:
        traces: of `ids`, see `R3Model.traces`.
        ids: int32[rows, tokens], 0 is padding.
        token_mask: float32[rows, visual tokens], 1 where there is a region.
        config: of the model.
        tokenizer: of the ids.
    """
    regions = max(config.rows, 1), max(config.columns, 1)
    texts = tokenizer.detokenize(ids).numpy()
    for row, tokens in enumerate(np.asarray(ids)):
        num_tokens = max(1, int(np.flatnonzero(tokens).max(initial=-1)) + 1)
        num_steps = max(1, round(float(np.sum(token_mask[row])) / config.regions))
        yield RoleText(
            text=texts[row].decode("utf-8", "replace"),
            pieces=tuple(tokenizer.pieces(tokens[:num_tokens])),
            relations=text_relations(traces, row, num_tokens, num_steps * config.regions),
            grid=Grid(num_steps, *regions),
        )
