"""A record's frames → the clip of each of its steps."""

import dataclasses
import io

import numpy as np
from PIL import Image

from beam_pipelines.record import contract
from beam_pipelines.rejects import Reject, RejectCode


@dataclasses.dataclass(frozen=True)
class Steps:
    """Which frames each step of a clip has.

    Attributes:
        starts_us: start of each step, on the clock of the media.
        frames: places of its frames in the record, at least one.
    """

    starts_us: list[int]
    frames: list[np.ndarray]


def steps_of(context: dict, lists: dict, rate_hz: float, window_seconds: float = 0.0) -> Steps:
    """Cuts a record with frames into steps.

    Step k holds the frames from k / rate_hz to (k + 1) / rate_hz seconds after the start of the
    clip; the last step is the one of the last frame. A step between frames gets the one before it.
    With a window it gets the frames of that around its middle, moved inside the clip where it would
    lie over an end.

    Args:
        context, lists: of the record.
        rate_hz: steps per second.
        window_seconds: length of the window; 0 for none.
    """
    start_us = _first(context, contract.CLIP_START, 0)
    times_us = _times_us(context, lists) - start_us
    # A frame at the very start of a step, whose time was rounded down, belongs to it.
    numbers = np.floor((times_us + 1) * (rate_hz / 1e6)).astype(np.int64).clip(0)
    starts, frames = [], []
    for step in range(int(numbers.max()) + 1):
        members = np.flatnonzero(numbers == step)
        if window_seconds:
            members = _around((step + 0.5) * (1e6 / rate_hz), window_seconds * 1e6, times_us)
        if not members.size:
            members = np.array([np.searchsorted(numbers, step) - 1]).clip(0)
        frames.append(members)
        starts.append(start_us + round(step * 1e6 / rate_hz))
    return Steps(starts, frames)


def _around(middle_us: float, length_us: float, times_us: np.ndarray) -> np.ndarray:
    """Places of the frames of a window."""
    start = max(min(middle_us - length_us / 2, times_us[-1] + 2 - length_us), 0.0)
    return np.flatnonzero((times_us + 1 >= start) & (times_us + 1 < start + length_us))


def _first(context: dict, key: str, default: int | float) -> int | float:
    values = context.get(key, ())
    return values[0] if len(values) else default


def _times_us(context: dict, lists: dict) -> np.ndarray:
    """int64[frames], on the clock of the media."""
    stored = lists.get(contract.FRAME_TIMESTAMPS)
    if stored:
        return np.array([step[0] for step in stored], np.int64)
    start_us = _first(context, contract.CLIP_START, 0)
    rate_hz = _first(context, contract.FRAME_RATE, 0.0) or 1.0
    places = np.arange(len(lists[contract.FRAMES]))
    return start_us + np.rint(places * 1e6 / float(rate_hz)).astype(np.int64)


def spread(places: np.ndarray, count: int | None) -> np.ndarray:
    """`count` of `places: int[any]`, the middle one of each of that many equal parts; a few are
    repeated. All where it is None."""
    if count is None:
        return places
    return places[(2 * np.arange(count) + 1) * len(places) // (2 * count)]


def decode_steps(
    frames: list[list[bytes]],
    steps: Steps,
    num_frames: int | None,
    height: int | None,
    width: int | None,
) -> list[np.ndarray] | Reject:
    """Decodes the frames that an encoder looks at.

    Args:
        frames: the record's pictures, one a step of its list.
        steps: which frames each step has.
        num_frames: frames of a step that are taken; None takes all.
        height, width: pixels, to which the largest central part of that aspect is resized; None
            leaves pictures as they are.

    Returns:
        uint8[frames, height, width, 3] of each step, or why there are none.
    """
    chosen = [spread(places, num_frames) for places in steps.frames]
    decoded: dict[int, np.ndarray] = {}
    for place in np.unique(np.concatenate(chosen)).tolist():
        picture = _decode(frames[place][0], height, width)
        if picture is None:
            return Reject(RejectCode.CORRUPT_IMAGE, f"frame {place} of the record is no picture")
        decoded[place] = picture
    if len({picture.shape for picture in decoded.values()}) > 1:
        return Reject(RejectCode.CORRUPT_IMAGE, "the frames of the record differ in size")
    return [np.stack([decoded[int(place)] for place in places]) for places in chosen]


def _decode(encoded: bytes, height: int | None, width: int | None) -> np.ndarray | None:
    """uint8[height, width, 3] of a picture; None where it cannot be read."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            picture = picture.convert("RGB")
            size = (width or picture.width, height or picture.height)
            if picture.size == size:
                return np.asarray(picture)
            # Cut before it is resized, which would mix in what lies around.
            part = picture.crop(_central_box(picture.size, size))
            return np.asarray(part.resize(size, Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _central_box(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the largest central part of `size` with the aspect of `wanted`,
    both width and height; whole pixels, at least one."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = (max(1, round(pixels * scale)) for pixels in wanted)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height
