"""Small made-up media for warm-up requests, documentation examples and the export's proof."""

from collections.abc import Sequence

import numpy as np

TEXTS = ("a square moves to the right", "a sound that rises", "nothing at all, said twice; twice!")

PROMPTS = (
    "Generate the alt_text in EN at 0: <extra_id_0>",
    "Answer in EN: what moves? <extra_id_0>",
)
PHRASES = ("the bright square", "a square that moves to the right")
LABELS = ("square", "dog", "rain")


def moving_square(num_frames: int, height: int, width: int, row: int = 0) -> np.ndarray:
    """A bright square that crosses a gradient: uint8[num_frames, height, width, 3]; `row` varies
    colour and path."""
    vertical, horizontal = np.mgrid[0:height, 0:width]
    gradient = (horizontal * 100 // max(width, 1) + 20 * row) % 256
    frames = np.repeat(gradient[None, :, :, None], num_frames, axis=0).repeat(3, axis=3)
    side = max(height // 4, 1)
    for index in range(num_frames):
        top = (row * 7) % max(height - side, 1)
        left = index * (width - side) // max(num_frames - 1, 1)
        inside = (vertical // 1 >= top) & (vertical < top + side)
        inside &= (horizontal >= left) & (horizontal < left + side)
        frames[index][inside] = (230, 60 + 50 * (row % 3), 40)
    return frames.astype(np.uint8)


def chirp(num_samples: int, sample_rate_hz: int, row: int = 0) -> np.ndarray:
    """A rising tone: float32[num_samples] in [-0.5, 0.5]."""
    seconds = np.arange(num_samples) / sample_rate_hz
    phase = 2 * np.pi * (200 + 100 * row + 150 * seconds) * seconds
    return (0.5 * np.sin(phase)).astype(np.float32)


def feature_map(shape: Sequence[int], row: int = 0) -> np.ndarray:
    """Features of regions without a meaning: float32[shape]."""
    return np.random.default_rng(row).normal(size=shape).astype(np.float32)


def feature_maps(shape: Sequence[int], row: int = 0) -> np.ndarray:
    """Features without a meaning: float32[shape]; those of steps behind the first ones are zeros,
    one step more with every `row`."""
    maps = feature_map(shape, row)
    maps[row + 1 :] = 0.0
    return maps
