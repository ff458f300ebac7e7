"""Pictures whose samples are integers of more than 8 bits, or signed: to 8 bits by their range."""

import numpy as np
from PIL import Image

from beam_pipelines.media.container import Rejection
from beam_pipelines.rejects import RejectCode

_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT, _MINIMUM, _MAXIMUM = 262, 258, 339, 280, 281
_SIGNED_MINIMUM, _SIGNED_MAXIMUM = 340, 341
_WHITE_IS_ZERO, _SIGNED = 0, 2
# Depths that sensors, scanners and programs write; the samples of wider ones leave bits unused.
_DEPTHS = (8, 10, 12, 14, 15, 16, 24, 31, 32)
_FEWEST_HIGH_LEVELS = 16


def is_integer_picture(image: Image.Image) -> bool:
    """Whether the samples of an open picture are integers that are not 8-bit brightness."""
    tags = _tags(image)
    is_wide = any(bits > 8 for bits in tags.get(_BITS, ()))
    is_signed_byte = image.mode == "L" and _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    return image.mode.startswith("I") or is_signed_byte or (is_wide and image.mode == "RGB")


def integer_picture(image: Image.Image) -> np.ndarray:
    """uint8[height, width] or [height, width, 3] of a loaded picture of integer samples.

    PNG fills its 16 bits by definition. TIFF is used for measurements too, which often fill only
    part of the sample: its range is the one that the tags state, or else the least usual depth
    that holds every sample.

    Raises:
        Rejection: colours of which only the high bytes are read, and these hold nothing.
    """
    values, tags = np.asarray(image), _tags(image)
    if image.mode == "RGB":
        if values.max() < _FEWEST_HIGH_LEVELS:
            detail = f"{tags[_BITS][0]}-bit colours that use only the lowest bits of their samples"
            raise Rejection(RejectCode.UNSUPPORTED_CODEC, detail)
        return values
    is_signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    bits = tags.get(_BITS, (16,))[0]
    if bits == 8:
        values = values.view(np.int8)
    elif bits == 32 and not is_signed:
        values = values.view(np.uint32)
    low, high = _range(values.astype(np.int64), bits, tags)
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    picture = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return 255 - picture if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else picture


def _tags(image: Image.Image) -> dict:
    return dict(image.tag_v2) if image.format == "TIFF" else {}


def _range(values: np.ndarray, bits: int, tags: dict) -> tuple[int, int]:
    """Values of black and white."""
    if not tags:
        return 0, (1 << bits) - 1
    lowest, highest = int(values.min()), int(values.max())
    for low_tag, high_tag in ((_SIGNED_MINIMUM, _SIGNED_MAXIMUM), (_MINIMUM, _MAXIMUM)):
        low, high = (_first(tags.get(tag)) for tag in (low_tag, high_tag))
        low = low or 0
        if high is not None and low < high and low <= lowest and highest <= high:
            return low, high
    if lowest < 0:
        depth = next(d for d in _DEPTHS if -(1 << (d - 1)) <= lowest and highest < 1 << (d - 1))
        return -(1 << (depth - 1)), (1 << (depth - 1)) - 1
    return 0, (1 << next(depth for depth in _DEPTHS if highest < 1 << depth)) - 1


def _first(value: object) -> int | None:
    if isinstance(value, tuple):
        value = value[0] if value else None
    return int(value) if isinstance(value, int | float) else None
