"""What an annotation file says of one video, in whatever layout it says so."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode

_SHOWN_CHARACTERS = 40
_MOST_SECONDS = 1e15


@dataclasses.dataclass(frozen=True)
class AnnotatedSegment:
    """A stretch of a video with its sentences.

    Attributes:
        span: start and end in seconds as annotated, in any order; None for the whole video.
        texts: sentences, of which some may be blank.
        metadata: what else is said of it.
    """

    span: tuple[float, float] | None
    texts: tuple[str, ...]
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AnnotatedVideo:
    """A video and its segments.

    Attributes:
        name: id that its media file is named after.
        segments: in the order of the annotation; a Reject for one that is of a wrong form.
        split: train, val or test; empty: drawn by a hash of the group.
        duration_seconds: as annotated; None where it is not.
        reference_set: number from 1 of the annotator, where several cut the video on their own; 0
            where one did.
        metadata: what else is said of it.
    """

    name: str
    segments: Sequence[AnnotatedSegment | Reject]
    split: str = ""
    duration_seconds: float | None = None
    reference_set: int = 0
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def group(self) -> str:
        """Name that its segments share, and those of another annotator do not."""
        return f"{self.name}@{self.reference_set}" if self.reference_set else self.name


def checked_segment(
    times: Any, text: Any, metadata: dict[str, Any] | None = None
) -> AnnotatedSegment | Reject:
    """A segment of a pair of seconds and a sentence, or why there is none."""
    if not isinstance(times, list) or len(times) != 2 or not all(map(is_seconds, times)):
        detail = f"the segment's times are not both seconds: {shortened(times)}"
        return Reject(RejectCode.BAD_METADATA, detail)
    if not isinstance(text, str):
        detail = f"the sentence is no text: {shortened(text)}"
        return Reject(RejectCode.BAD_CAPTIONS, detail)
    return AnnotatedSegment((float(times[0]), float(times[1])), (text,), metadata or {})


def is_seconds(value: Any) -> bool:
    """Whether a JSON value is a number that a time can be."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _MOST_SECONDS


def shortened(value: Any) -> str:
    """A JSON value as messages show it."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
