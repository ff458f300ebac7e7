"""Which stretch of a media file becomes a clip, and which captions go with it."""

import dataclasses
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode

MODES = ("whole", "stride", "captions")
_TOLERANCE_SECONDS = 1e-6


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How media are cut into clips.

    Attributes:
        mode: `whole` (one clip a file), `stride` (windows at fixed steps from time 0) or `captions`
            (one window around the middle of every timed caption).
        window_seconds: length of a window.
        stride_seconds: step between the starts of two windows.
        nearest_captions: captions kept per clip; 0 keeps all.
    """

    mode: str = "whole"
    window_seconds: float = 3.2
    stride_seconds: float = 3.2
    nearest_captions: int = 0


@dataclasses.dataclass(frozen=True)
class Window:
    """A clip: [start, end) in seconds of the media; `end_seconds` None means to its end."""

    start_seconds: float
    end_seconds: float | None


def needs_duration(config: WindowConfig) -> bool:
    """Whether the media must be probed before its windows are known."""
    return config.mode != "whole"


def windows(
    config: WindowConfig, item: dict[str, Any], duration_seconds: float | None
) -> list[Window] | Reject:
    """Windows of one media file, in order.

    Args:
        config: how to cut.
        item: manifest item, for its timed captions.
        duration_seconds: length of the media; 0 for still images, None when it is not needed.

    Returns:
        At least one window, or a Reject when captions are asked for and none has a time. Media
        shorter than one window are one clip; a remainder shorter than one window is left out.
    """
    if config.mode == "whole":
        return [Window(0.0, None)]
    if config.mode == "stride":
        return _stride_windows(config, duration_seconds or 0.0)
    return _caption_windows(config, item, duration_seconds or 0.0)


def _stride_windows(config: WindowConfig, duration_seconds: float) -> list[Window]:
    spare = duration_seconds - config.window_seconds
    if spare < _TOLERANCE_SECONDS:
        return [Window(0.0, None)]
    number = int((spare + _TOLERANCE_SECONDS) / config.stride_seconds) + 1
    starts = (index * config.stride_seconds for index in range(number))
    return [Window(start, start + config.window_seconds) for start in starts]


def _caption_windows(
    config: WindowConfig, item: dict[str, Any], duration_seconds: float
) -> list[Window] | Reject:
    timed = [caption for caption in item.get("captions", ()) if "start_seconds" in caption]
    if not timed:
        return Reject(RejectCode.BAD_CAPTIONS, "windows around captions: no caption has times")
    inside = [caption for caption in timed if caption["start_seconds"] < duration_seconds]
    if not inside:
        return Reject(
            RejectCode.BAD_CAPTIONS,
            f"every caption starts after the end of the media, {duration_seconds:.3f} s",
        )
    if duration_seconds <= config.window_seconds + _TOLERANCE_SECONDS:
        return [Window(0.0, None) for _ in inside]
    latest = duration_seconds - config.window_seconds
    starts = (_middle(caption) - config.window_seconds / 2 for caption in inside)
    clamped = (min(max(start, 0.0), latest) for start in starts)
    return [Window(start, start + config.window_seconds) for start in clamped]


def _middle(caption: dict[str, Any]) -> float:
    return (caption["start_seconds"] + caption["end_seconds"]) / 2


def order_captions(
    captions: list[dict[str, Any]], start_seconds: float, end_seconds: float, nearest: int
) -> list[dict[str, Any]]:
    """Captions of a clip, nearest in time first.

    Distance is between the middles of caption and clip. Captions without times describe the whole
    media and come first; ties keep the manifest's order.

    Args:
        captions: captions of the media.
        start_seconds, end_seconds: the clip.
        nearest: how many to keep; 0 keeps all.
    """
    middle = (start_seconds + end_seconds) / 2

    def distance(caption: dict[str, Any]) -> float:
        return round(abs(_middle(caption) - middle), 6) if "start_seconds" in caption else -1.0

    ordered = sorted(captions, key=distance)
    return ordered[:nearest] if nearest else ordered
