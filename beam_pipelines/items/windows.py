"""Which stretch of a media file becomes a clip, and which captions go with it.

An item may be a segment of its file, `start_seconds` to `end_seconds`: windows then lie inside it,
and of captions only what overlaps it is kept. Times stay on the clock of the file.
"""

import dataclasses
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode

MODES = ("whole", "stride", "captions")
_TOLERANCE_SECONDS = 1e-6


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How media are cut into clips.

    Attributes:
        mode: `whole` (one clip an item), `stride` (windows at fixed steps from its start) or
            `captions` (one window around the middle of every timed caption; captions that lead to
            the same window share it).
        window_seconds: length of a window.
        stride_seconds: step between the starts of two windows.
        nearest_captions: captions kept per clip, though never fewer than it was cut around; 0
            keeps all.
    """

    mode: str = "whole"
    window_seconds: float = 3.2
    stride_seconds: float = 3.2
    nearest_captions: int = 0


@dataclasses.dataclass(frozen=True)
class Window:
    """A clip.

    Attributes:
        start_seconds, end_seconds: [start, end) on the clock of the media; an end of None is that
            of the media.
        captions: places, among the item's captions, of those that the window was cut around.
    """

    start_seconds: float
    end_seconds: float | None
    captions: tuple[int, ...] = ()


def span_of(item: dict[str, Any]) -> Window:
    """The part of its media file that an item is: its segment, or all of it."""
    if "start_seconds" not in item:
        return Window(0.0, None)
    return Window(max(item["start_seconds"], 0.0), item["end_seconds"])


def cut_to_segment(item: dict[str, Any]) -> dict[str, Any]:
    """The item with those of its timed captions that overlap its segment, cut to it."""
    span = span_of(item)
    if span.end_seconds is None or not item.get("captions"):
        return item
    captions = [c for c in item["captions"] if "start_seconds" not in c]
    captions += overlapping(
        [c for c in item["captions"] if "start_seconds" in c], span.start_seconds, span.end_seconds
    )
    return item | {"captions": captions}


def overlapping(
    entries: list[dict[str, Any]], start_seconds: float, end_seconds: float
) -> list[dict[str, Any]]:
    """Timed entries that overlap [start, end), cut to it."""
    kept = []
    for entry in entries:
        start = max(entry["start_seconds"], start_seconds)
        end = min(entry["end_seconds"], end_seconds)
        is_instant = entry["start_seconds"] == entry["end_seconds"] == start
        if start < end or (is_instant and start < end_seconds):
            kept.append({**entry, "start_seconds": start, "end_seconds": end})
    return kept


def needs_duration(config: WindowConfig, item: dict[str, Any]) -> bool:
    """Whether the media must be probed before its windows are known."""
    return config.mode != "whole" or "start_seconds" in item


def windows(
    config: WindowConfig, item: dict[str, Any], duration_seconds: float | None
) -> list[Window] | Reject:
    """Windows of one item, in order.

    Args:
        config: how to cut.
        item: manifest item, for its segment and its timed captions.
        duration_seconds: length of the media; 0 for still images, None when it is not needed.

    Returns:
        At least one window, or a Reject: the segment starts after the end of the media, or
        captions are asked for and none has a time. What is shorter than one window is one clip; a
        remainder shorter than one window is left out.
    """
    span = _span_inside(item, duration_seconds)
    if isinstance(span, Reject):
        return span
    if config.mode == "whole":
        return [span]
    if config.mode == "stride":
        return _stride_windows(config, span, duration_seconds or 0.0)
    return _caption_windows(config, item, span, duration_seconds or 0.0)


def _span_inside(item: dict[str, Any], duration_seconds: float | None) -> Window | Reject:
    span = span_of(item)
    if span.end_seconds is None or not duration_seconds:
        return span
    if span.start_seconds >= duration_seconds - _TOLERANCE_SECONDS:
        detail = f"the segment starts at {span.start_seconds:.3f} s"
        return Reject(RejectCode.TOO_SHORT, f"{detail}, the media ends at {duration_seconds:.3f} s")
    return Window(span.start_seconds, min(span.end_seconds, duration_seconds))


def _stride_windows(config: WindowConfig, span: Window, duration_seconds: float) -> list[Window]:
    spare = _end(span, duration_seconds) - span.start_seconds - config.window_seconds
    if spare < _TOLERANCE_SECONDS:
        return [span]
    number = int((spare + _TOLERANCE_SECONDS) / config.stride_seconds) + 1
    starts = (span.start_seconds + index * config.stride_seconds for index in range(number))
    return [Window(start, start + config.window_seconds) for start in starts]


def _end(span: Window, duration_seconds: float) -> float:
    return duration_seconds if span.end_seconds is None else span.end_seconds


def _caption_windows(
    config: WindowConfig, item: dict[str, Any], span: Window, duration_seconds: float
) -> list[Window] | Reject:
    captions = list(enumerate(item.get("captions", ())))
    timed = [(place, caption) for place, caption in captions if "start_seconds" in caption]
    if not timed:
        return Reject(RejectCode.BAD_CAPTIONS, "windows around captions: no caption has times")
    end = _end(span, duration_seconds)
    inside = [(place, caption) for place, caption in timed if caption["start_seconds"] < end]
    if not inside:
        return Reject(
            RejectCode.BAD_CAPTIONS, f"every caption starts after the end of the media, {end:.3f} s"
        )
    if end - span.start_seconds <= config.window_seconds + _TOLERANCE_SECONDS:
        cuts = [dataclasses.replace(span, captions=(place,)) for place, _ in inside]
    else:
        cuts = [_around(config, place, caption, span, end) for place, caption in inside]
    return _merged(cuts)


def _around(
    config: WindowConfig, place: int, caption: dict[str, Any], span: Window, end: float
) -> Window:
    start = _middle(caption) - config.window_seconds / 2
    start = min(max(start, span.start_seconds), end - config.window_seconds)
    return Window(start, start + config.window_seconds, (place,))


def _merged(cuts: list[Window]) -> list[Window]:
    """The windows, those over one stretch as one that was cut around all their captions."""
    captions: dict[tuple[int, int | None], tuple[int, ...]] = {}
    first: dict[tuple[int, int | None], Window] = {}
    for cut in cuts:
        end = None if cut.end_seconds is None else round(cut.end_seconds / _TOLERANCE_SECONDS)
        stretch = round(cut.start_seconds / _TOLERANCE_SECONDS), end
        first.setdefault(stretch, cut)
        captions[stretch] = captions.get(stretch, ()) + cut.captions
    return [dataclasses.replace(cut, captions=captions[key]) for key, cut in first.items()]


def _middle(caption: dict[str, Any]) -> float:
    return (caption["start_seconds"] + caption["end_seconds"]) / 2


def order_captions(
    captions: list[dict[str, Any]], window: Window, nearest: int
) -> list[dict[str, Any]]:
    """Captions of a clip: those it was cut around, then the nearest in time first.

    Distance is between the middles of caption and clip. Captions without times describe the whole
    media and come before others; ties keep the manifest's order.

    Args:
        captions: captions of the media.
        window: the clip; its end is given.
        nearest: how many to keep, though never fewer than it was cut around; 0 keeps all.
    """
    middle = (window.start_seconds + (window.end_seconds or window.start_seconds)) / 2

    def distance(place: int) -> tuple[bool, float]:
        caption = captions[place]
        away = round(abs(_middle(caption) - middle), 6) if "start_seconds" in caption else -1.0
        return place not in window.captions, 0.0 if place in window.captions else away

    places = sorted(range(len(captions)), key=distance)
    kept = places[: max(nearest, len(window.captions))] if nearest else places
    return [captions[place] for place in kept]
