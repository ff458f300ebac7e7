"""From what attentions did to texts with roles."""

from collections.abc import Iterator, Mapping

import numpy as np

from mm_models.layers.transformer.block_inputs import AttentionTrace
from mm_models.r3.config import R3Config
from mm_models.r3.relations import Grid, text_relations
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from trainers.tasks.r3.role_text import RoleText


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
