"""Real handwritten digits (scikit-learn's 8x8 images), divided over the splits and drawn large."""

import functools

import numpy as np
from PIL import Image

from beam_pipelines.sources.digits.config import SPLITS
from mm_models.errors import UserError

_SHARES = {"train": 0.72, "val": 0.08, "test": 0.20}
_MASTER_PIXELS = 80
_FAINTEST_INK = 0.1


@functools.cache
def _dataset() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "the digit images need scikit-learn; run `pip install mmstack[corpus]`."
        ) from error
    data = load_digits()
    return (data.images / 16.0).astype(np.float32), data.target.astype(int)


@functools.cache
def image_indices(split: str, digit: int) -> tuple[int, ...]:
    """Numbers of the images of `digit` that `split` may show; no two splits share one.

    The division does not depend on the corpus seed, so a model trained on one corpus has not seen
    the test images of any other.
    """
    targets = _dataset()[1]
    indices = np.flatnonzero(targets == digit)
    indices = np.random.Generator(np.random.PCG64(1000 + digit)).permutation(indices)
    bounds = np.round(np.cumsum([0, *(_SHARES[name] for name in SPLITS)]) * len(indices))
    place = SPLITS.index(split)
    return tuple(int(i) for i in indices[int(bounds[place]) : int(bounds[place + 1])])


def draw_digit(image_index: int, height_pixels: int, rotation_degrees: float) -> np.ndarray:
    """One digit, smoothly enlarged: float32[height, width] ink in [0, 1], without empty margins.

    Args:
        image_index: number of the image in scikit-learn's data set.
        height_pixels: height of the result; the width follows from the ink.
        rotation_degrees: turn, counter-clockwise.
    """
    padded = np.pad(_dataset()[0][image_index], 1)
    master = Image.fromarray(padded, mode="F")
    size = (_MASTER_PIXELS, _MASTER_PIXELS)
    master = master.resize(size, Image.Resampling.BICUBIC)
    master = master.rotate(rotation_degrees, Image.Resampling.BILINEAR)
    strokes = _crop(np.clip((np.asarray(master) - 0.22) / 0.4, 0, 1))
    width_pixels = max(3, round(height_pixels * strokes.shape[1] / strokes.shape[0]))
    glyph = Image.fromarray(strokes, mode="F").resize(
        (width_pixels, height_pixels), Image.Resampling.BOX
    )
    return _crop(np.asarray(glyph))


def _crop(ink: np.ndarray) -> np.ndarray:
    ink = np.where(ink < _FAINTEST_INK, 0, ink).astype(np.float32)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
