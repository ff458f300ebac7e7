"""Where a digit is in every frame: straight lines, bounces, entrances and exits."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.language.lexicon import DIRECTIONS
from beam_pipelines.sources.digits.randomness import choose

# Speeds in frame heights per second that sentences call slow and fast.
SLOW_BELOW, FAST_ABOVE = 0.12, 0.25
# Displacement over a whole clip, in pixels, below which nobody would say that something moves.
_SMALLEST_TRAVEL_PIXELS = 3.0
# Share of a digit that is inside the frame when it enters.
_ENTRY_SHARE = 0.45

_SIDES = ("left", "right", "up", "down")
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclasses.dataclass(frozen=True)
class Path:
    """Motion of one digit.

    Attributes:
        corners: int64[frames, 2] top and left of the glyph in pixels; may lie outside the frame.
        directions: direction of motion per frame, a key of `lexicon.DIRECTIONS`.
        speed: frame heights per second, 0 when still.
        first_frame, end_frame: frames in which it exists, end excluded.
        enters_from, leaves_to: side of the frame, or None when it does not enter or leave.
        bounces: whether it turns at a border within the clip.
    """

    corners: np.ndarray
    directions: tuple[str, ...]
    speed: float
    first_frame: int
    end_frame: int
    enters_from: str | None = None
    leaves_to: str | None = None
    bounces: bool = False


@dataclasses.dataclass(frozen=True)
class Stage:
    """What paths must fit: frame size in pixels, frames, rate, the share of the room to use, and
    among how many directions ordinary motion chooses."""

    frame_size: int
    num_frames: int
    frame_rate_hz: float
    spread_share: float = 1.0
    num_directions: int = 8

    def room(self, glyph: tuple[int, int]) -> np.ndarray:
        """float64[2]: range of the glyph's top and left inside the frame."""
        return np.maximum(self.frame_size - np.array(glyph, np.float64), 0)

    def used_room(self, glyph: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """float64[2] each: least top and left, and their range, of digits that stay inside."""
        room = self.room(glyph)
        return room * (1 - self.spread_share) / 2, room * self.spread_share

    def speed(self, pixels_per_frame: float) -> float:
        """Frame heights per second."""
        return float(pixels_per_frame * self.frame_rate_hz / self.frame_size)


def still_path(random: np.random.Generator, stage: Stage, glyph: tuple[int, int]) -> Path:
    """A digit (height, width in pixels) that stays where it is."""
    margin, room = stage.used_room(glyph)
    corner = margin + random.uniform(0, 1, 2) * room
    corners = np.tile(np.round(corner).astype(np.int64), (stage.num_frames, 1))
    return Path(corners, ("still",) * stage.num_frames, 0.0, 0, stage.num_frames)


def moving_path(
    random: np.random.Generator, stage: Stage, glyph: tuple[int, int], speed: float, bounce: bool
) -> Path:
    """A digit that moves along a line inside the frame, turning at the borders if it may `bounce`.

    Without bounces a digit too fast for its room is slowed; one left with no motion to speak of is
    still, so that the stated direction is always one that can be seen.
    """
    ways = [name for name in DIRECTIONS if name != "still"]
    direction = choose(random, ways[: stage.num_directions])
    step = np.array(DIRECTIONS[direction], np.float64)
    (margin, room), last = stage.used_room(glyph), stage.num_frames - 1
    velocity = step / np.linalg.norm(step) * speed * stage.frame_size / stage.frame_rate_hz
    travel = np.abs(velocity) * last
    if not bounce:
        moving = step != 0
        velocity *= min(1.0, float(np.min(room[moving] / travel[moving]))) if last else 0
        travel = np.abs(velocity) * last
    if np.max(travel) < _SMALLEST_TRAVEL_PIXELS or (bounce and np.min(room[step != 0]) < 4):
        return still_path(random, stage, glyph)
    free = np.maximum(room - travel, 0) if not bounce else room
    start = random.uniform(0, 1, 2) * free
    if not bounce:
        start = np.where(step < 0, start + travel, start)
    positions = start + velocity * np.arange(stage.num_frames)[:, None]
    folded, turned = _reflect(positions, room) if bounce else (positions, np.zeros((1, 2), bool))
    directions = tuple(
        _name(np.where(row, -step, step)) for row in np.broadcast_to(turned, (stage.num_frames, 2))
    )
    return Path(
        np.round(margin + folded).astype(np.int64),
        directions,
        stage.speed(float(np.linalg.norm(velocity))),
        0,
        stage.num_frames,
        bounces=len(set(directions)) > 1,
    )


def entering_path(
    random: np.random.Generator, stage: Stage, glyph: tuple[int, int], first_frame: int
) -> Path:
    """A digit that comes in over a border; it is first seen, in part, in `first_frame`."""
    side = choose(random, _SIDES)
    axis, positive = _axis(side)
    size, room = glyph[axis], stage.room(glyph)
    frames_left = max(stage.num_frames - 1 - first_frame, 1)
    start = -(1 - _ENTRY_SHARE) * size
    target = random.uniform(0.1, 0.6) * room[axis]
    pixels_per_frame = min((target - start) / frames_left, stage.frame_size / 6)
    return _crossing(
        random, stage, glyph, side, start, pixels_per_frame, (first_frame, stage.num_frames)
    )


def leaving_path(
    random: np.random.Generator, stage: Stage, glyph: tuple[int, int], earliest_end: int
) -> Path:
    """A digit that goes out over a border; it is gone from some frame on, after `earliest_end`."""
    side = choose(random, _SIDES)
    axis, _ = _axis(side)
    room = stage.room(glyph)
    end_frame = int(random.integers(min(earliest_end, stage.num_frames - 1), stage.num_frames))
    # Measured from the border it goes to, inwards; the glyph is outside at minus its own size.
    start = random.uniform(0.1, 0.6) * room[axis]
    pixels_per_frame = (start + glyph[axis]) / max(end_frame, 1)
    path = _crossing(random, stage, glyph, side, start, -pixels_per_frame, (0, end_frame))
    return dataclasses.replace(path, enters_from=None, leaves_to=side)


def delayed(path: Path, first_frame: int, num_frames: int) -> Path:
    """A path as part of a longer clip of `num_frames`, in which it begins at `first_frame`."""
    within = np.clip(np.arange(num_frames) - first_frame, 0, len(path.directions) - 1)
    return dataclasses.replace(
        path,
        corners=path.corners[within],
        directions=tuple(path.directions[frame] for frame in within),
        first_frame=path.first_frame + first_frame,
        end_frame=path.end_frame + first_frame,
    )


def _crossing(
    random: np.random.Generator,
    stage: Stage,
    glyph: tuple[int, int],
    side: str,
    start: float,
    pixels_per_frame: float,
    frames: tuple[int, int],
) -> Path:
    """Motion square to the border `side`; distances run from that border inwards."""
    axis, positive = _axis(side)
    room = stage.room(glyph)
    inwards = start + pixels_per_frame * (np.arange(stage.num_frames) - frames[0])
    positions = np.empty((stage.num_frames, 2))
    positions[:, axis] = room[axis] - inwards if positive else inwards
    positions[:, 1 - axis] = random.uniform(0, 1) * room[1 - axis]
    direction = _OPPOSITE[side] if pixels_per_frame > 0 else side
    return Path(
        np.round(positions).astype(np.int64),
        (direction,) * stage.num_frames,
        stage.speed(abs(pixels_per_frame)),
        *frames,
        enters_from=side,
    )


def _axis(side: str) -> tuple[int, bool]:
    """Axis (0 down, 1 right) square to a border, and whether the border is at the axis' far end."""
    return (1 if side in ("left", "right") else 0), side in ("right", "down")


def _reflect(positions: np.ndarray, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions folded into [0, room], and whether each coordinate runs backwards there."""
    period = 2 * np.maximum(room, 1e-6)
    phase = np.mod(positions, period)
    turned = phase > room
    return np.where(turned, period - phase, phase), turned


def _name(step: np.ndarray) -> str:
    wanted = tuple(int(s) for s in np.sign(step))
    return next(name for name, unit in DIRECTIONS.items() if unit == wanted)
