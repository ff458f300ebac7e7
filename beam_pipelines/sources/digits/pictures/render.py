"""Scenes to pixels, and the truth about what can be seen of each digit."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.pictures.scene import SceneObject

# Share of a digit's strongest ink from which on a pixel counts as its own in measuring visibility.
SOLID_INK = 0.5
# Share of a digit's solid ink that a nearer one must hide for the two to overlap.
HIDDEN_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Sighting:
    """One digit in one frame.

    Attributes:
        frame: frame number.
        box_yxyx: top, left, bottom, right of the ink inside the frame in pixels, ends excluded; ink
            that a nearer digit hides is part of it.
        visibility: share of the digit's solid ink that is inside the frame and not hidden.
        direction: direction of motion.
        hidden_by: ids of nearer digits that each hide at least `HIDDEN_SHARE` of its solid ink.
    """

    frame: int
    box_yxyx: tuple[int, int, int, int]
    visibility: float
    direction: str
    hidden_by: tuple[int, ...]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box in pixels, down and right."""
        top, left, bottom, right = self.box_yxyx
        return (top + bottom) / 2, (left + right) / 2


def render(
    random: np.random.Generator, config: DigitsConfig, objects: list[SceneObject]
) -> np.ndarray:
    """Draws a clip: uint8[frames, height, width, 3]."""
    size = config.frame_size
    video = np.empty((config.num_frames, size, size, 3), np.uint8)
    background = draw_background(random, config)
    farthest_first = sorted(objects, key=lambda shown: -shown.depth)
    for frame in range(config.num_frames):
        canvas = background.copy()
        for shown in farthest_first:
            _paint(canvas, shown, frame)
        if config.video_noise:
            canvas += config.video_noise * random.standard_normal((size, size, 1), np.float32)
        video[frame] = np.clip(np.round(canvas), 0, 255)
    return video


def draw_background(random: np.random.Generator, config: DigitsConfig) -> np.ndarray:
    """The still background: float32[height, width, 3] in grey levels 0 to 255, dark throughout."""
    size = config.frame_size
    base = random.uniform(0, 36, 3).astype(np.float32)
    canvas = np.broadcast_to(base, (size, size, 3)).copy()
    slope = random.uniform(-1, 1, (2, 3)).astype(np.float32)
    cells = random.uniform(0, 1, (6, 6)).astype(np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    if config.background == "gradient":
        canvas += 24 * np.abs(ramp[:, None, None] * slope[0] + ramp[None, :, None] * slope[1])
    elif config.background == "texture":
        places = np.minimum(np.arange(size) * 6 // size, 5)
        canvas += 50 * cells[places][:, places][:, :, None]
    return canvas


def _paint(canvas: np.ndarray, shown: SceneObject, frame: int) -> None:
    window = visible_window(shown, frame, len(canvas))
    if window is None:
        return
    inside, ink = window
    color = np.array(shown.rgb, np.float32)
    ink = ink[:, :, None]
    canvas[inside] = canvas[inside] * (1 - ink) + color * ink


def visible_window(
    shown: SceneObject, frame: int, frame_size: int
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Slices of the frame that the digit's glyph covers and the ink there; None when outside."""
    if not shown.path.first_frame <= frame < shown.path.end_frame:
        return None
    top, left = (int(v) for v in shown.path.corners[frame])
    height, width = shown.ink.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, frame_size), min(left + width, frame_size)
    if y0 >= y1 or x0 >= x1:
        return None
    return (slice(y0, y1), slice(x0, x1)), shown.ink[y0 - top : y1 - top, x0 - left : x1 - left]


def sightings(objects: list[SceneObject], num_frames: int, frame_size: int) -> list[list[Sighting]]:
    """Per digit, the frames in which any of its ink is inside the frame."""
    found: list[list[Sighting]] = [[] for _ in objects]
    nearest_first = sorted(range(len(objects)), key=lambda place: objects[place].depth)
    for frame in range(num_frames):
        nearer: list[tuple[int, np.ndarray]] = []
        for place in nearest_first:
            window = visible_window(objects[place], frame, frame_size)
            if window is not None and window[1].any():
                sighting, solid = _sight(objects[place], frame, frame_size, window, nearer)
                found[place].append(sighting)
                nearer.append((objects[place].object_id, solid))
    return found


def _sight(
    shown: SceneObject,
    frame: int,
    frame_size: int,
    window: tuple[tuple[slice, slice], np.ndarray],
    nearer: list[tuple[int, np.ndarray]],
) -> tuple[Sighting, np.ndarray]:
    """The sighting, and bool[height, width] of the digit's solid ink in the frame."""
    inside, ink = window
    solid = np.zeros((frame_size, frame_size), bool)
    least_ink = SOLID_INK * shown.ink.max()
    solid[inside] = ink >= least_ink
    all_ink = np.count_nonzero(shown.ink >= least_ink)
    free, hidden_by = solid.copy(), []
    for other_id, cover in nearer:
        free &= ~cover
        if np.count_nonzero(solid & cover) >= HIDDEN_SHARE * all_ink:
            hidden_by.append(other_id)
    sighting = Sighting(
        frame,
        _ink_box(inside, ink),
        np.count_nonzero(free) / all_ink,
        shown.path.directions[frame],
        tuple(sorted(hidden_by)),
    )
    return sighting, solid


def _ink_box(inside: tuple[slice, slice], ink: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, left = inside[0].start, inside[1].start
    return (
        int(top + rows[0]),
        int(left + columns[0]),
        int(top + rows[-1] + 1),
        int(left + columns[-1] + 1),
    )
