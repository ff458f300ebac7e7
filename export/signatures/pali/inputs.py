"""One input of each medium for a PaLI model whose streams have inputs of several sizes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from export.signatures.shared.media import check_streams


@dataclasses.dataclass(frozen=True)
class PaliInputs:
    """What an exported PaLI model takes.

    Attributes:
        config: trainers/data/config.py: InputConfig of the largest clips, or of the stills.
        still: VideoInputConfig of one frame, or None without pictures.
        media: any of `image`, `video` and `text`, as the streams have them.
        num_input_tokens, num_target_tokens: the most of any stream.
    """

    config: Any
    still: Any
    media: tuple[str, ...]
    num_input_tokens: int
    num_target_tokens: int


def largest_inputs(streams: Mapping[str, Any]) -> PaliInputs:
    """The largest clips and stills, and the longest prompts and answers, that the streams read.

    Args:
        streams: StreamConfig by name.

    Raises:
        UserError: no stream.
    """
    check_streams(streams)
    inputs = [stream.input for stream in streams.values()]
    clips = [one for one in inputs if one.video and one.video.num_frames > 1]
    stills = [one for one in inputs if one.video and one.video.num_frames == 1]
    texts = [one for one in inputs if not one.video]
    clip = max(clips, key=lambda one: one.video.num_frames * _pixels(one), default=None)
    still = max(stills, key=_pixels, default=None)
    named = {"image": still, "video": clip, "text": texts or None}
    return PaliInputs(
        config=clip or still or inputs[0],
        still=still.video if still else None,
        media=tuple(medium for medium, found in named.items() if found),
        num_input_tokens=max(one.prompted.num_input_tokens for one in inputs),
        num_target_tokens=max(one.prompted.num_target_tokens for one in inputs),
    )


def _pixels(inputs: Any) -> int:
    return inputs.video.height * inputs.video.width
