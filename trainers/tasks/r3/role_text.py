"""A text with the roles that its tokens took, ready to be shown. Imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping

from mm_models.r3.relations import Grid, TokenRelations


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
