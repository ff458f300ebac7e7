"""Tracks of objects, resampled to the times of stored frames."""

import dataclasses
from typing import Any

import numpy as np

UNKNOWN_DEPTH = -1
_SINGLE_POINT_REACH_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class TrackSample:
    """One object in one frame.

    Attributes:
        box: y0, x0, y1, x1, normalised; zeros when the object is absent.
        visibility: visible share, 0 when absent.
        depth: layer, 0 nearest the viewer; -1 when absent or unknown.
        direction: direction of motion in UTF-8; empty when absent or unknown.
    """

    box: tuple[float, float, float, float]
    visibility: float
    depth: int
    direction: bytes


ABSENT = TrackSample((0.0, 0.0, 0.0, 0.0), 0.0, UNKNOWN_DEPTH, b"")


def resample_track(track: list[dict[str, Any]], times_seconds: np.ndarray) -> list[TrackSample]:
    """An object's track at other times.

    Box and visibility are interpolated between the two points around a time, layer and direction
    are those of the nearer point. A gap of more than 1.5 times the usual step is an absence: only
    times within half a step of a point belong to it.

    Args:
        track: points in order of time, as the manifest has them.
        times_seconds: float64[frames].

    Returns:
        One sample per frame.
    """
    if not track:
        return [ABSENT] * len(times_seconds)
    points = np.array([point["time_seconds"] for point in track])
    reach = reach_seconds(track)
    return [_sample_track(track, points, reach, float(time)) for time in times_seconds]


def reach_seconds(track: list[dict[str, Any]]) -> float:
    """How far from a point of a track its values hold: half the usual step between points."""
    if len(track) < 2:
        return _SINGLE_POINT_REACH_SECONDS
    times = np.array([point["time_seconds"] for point in track])
    return float(np.median(np.diff(times))) / 2 + 1e-6


def _sample_track(
    track: list[dict[str, Any]], points: np.ndarray, reach: float, time: float
) -> TrackSample:
    after = int(np.searchsorted(points, time))
    before = max(after - 1, 0)
    after = min(after, len(points) - 1)
    gap = points[after] - points[before]
    if points[before] <= time <= points[after] and gap <= 3 * reach:
        return _blend(track[before], track[after], (time - points[before]) / gap if gap else 0.0)
    nearest = min((before, after), key=lambda index: abs(points[index] - time))
    if abs(points[nearest] - time) > reach:
        return ABSENT
    return _blend(track[nearest], track[nearest], 0.0)


def _blend(first: dict[str, Any], second: dict[str, Any], weight: float) -> TrackSample:
    nearer = first if weight <= 0.5 else second
    corners = zip(first["box_yxyx_norm"], second["box_yxyx_norm"], strict=True)
    return TrackSample(
        tuple((1.0 - weight) * a + weight * b for a, b in corners),
        (1.0 - weight) * first.get("visibility", 1.0) + weight * second.get("visibility", 1.0),
        nearer.get("depth", UNKNOWN_DEPTH),
        nearer.get("direction", "").encode(),
    )
