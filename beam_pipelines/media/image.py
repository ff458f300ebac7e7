"""Pictures by Pillow: a still image is media of one frame, an animated one is video."""

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_contract import DecodeRequest, MediaInfo
from beam_pipelines.media.frames import (
    check_pixels,
    crop_region,
    kept_shares,
    on_black,
    output_size,
)
from beam_pipelines.rejects import RejectCode

_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNS = {3: 180, 4: 180, 5: 270, 6: 270, 7: 90, 8: 90}
# Browsers show a frame without a duration for this long; ours do the same.
_DEFAULT_FRAME_SECONDS = 0.1
_SHORTEST_FRAME_SECONDS = 0.011


@contextlib.contextmanager
def open_image(path: str, image_format: str, max_pixels: int) -> Iterator[Image.Image]:
    """Opens a picture and checks its size before a pixel is decoded.

    Raises:
        Rejection: too many pixels, or a header that Pillow cannot read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is replaced by max_pixels
            image = Image.open(path, formats=[image_format])
    except Image.DecompressionBombError as error:
        raise Rejection(RejectCode.TOO_MANY_PIXELS, f"{error}; limit {max_pixels}") from error
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        detail = f"the {image_format} header cannot be read"
        raise Rejection(RejectCode.CORRUPT_IMAGE, detail) from error
    except Exception as error:  # Pillow's parsers raise whatever the broken bytes lead to
        raise _rejection(error) from error
    with image:
        check_pixels(*image.size, max_pixels)
        yield image


def _rejection(error: Exception) -> Rejection:
    message = f"{type(error).__name__}: {error}"
    truncated = "truncated" in message or isinstance(error, EOFError)
    return Rejection(RejectCode.TRUNCATED if truncated else RejectCode.CORRUPT_IMAGE, message)


def num_playing_frames(image: Image.Image) -> int:
    """How many frames play by themselves: 1 for a still picture; pages of a TIFF do not play.

    Raises:
        Rejection: the frames cannot be counted.
    """
    if image.format == "TIFF":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Exception as error:  # a GIF is counted by walking through its broken blocks
        raise _rejection(error) from error


def image_info(image: Image.Image) -> MediaInfo:
    """What the header of an open picture says."""
    num_frames = num_playing_frames(image)
    animated = num_frames > 1
    turn = 0 if animated else _TURNS.get(_orientation(image)[0], 0)
    width, height = image.size if turn % 180 == 0 else image.size[::-1]
    return MediaInfo(
        container=image.format.lower(),
        has_video=True,
        is_image=not animated,
        video_codec=image.format.lower(),
        width=width,
        height=height,
        coded_width=image.width,
        coded_height=image.height,
        rotation_degrees=turn,
        pixel_format=image.mode,
        num_frames=num_frames,
        num_video_streams=1,
    )


def _orientation(image: Image.Image) -> tuple[int, str | None]:
    try:
        # The base method: PNG's own would decode the picture here, and swallow what is broken.
        read_exif = Image.Image.getexif if image.format == "PNG" else type(image).getexif
        return int(read_exif(image).get(_ORIENTATION_TAG, 1)), None
    except Exception as error:  # Pillow parses EXIF lazily and raises anything on broken tags
        return 1, f"EXIF cannot be read, shown as stored: {type(error).__name__}"


def decode_still(image: Image.Image, request: DecodeRequest) -> tuple[np.ndarray, list[str]]:
    """Pixels of a still picture, upright and reduced.

    Returns:
        uint8[height, width, 3] RGB of the region and warnings. EXIF orientation is applied;
        transparency lies on black; CMYK is converted without a colour profile; 16-bit grey keeps
        its high byte.

    Raises:
        Rejection: damaged data.
    """
    orientation, warning = _orientation(image)
    shares = kept_shares(request.region)
    if _TURNS.get(orientation, 0) % 180:
        shares = shares[::-1]
    size = output_size(*image.size, 1.0, request.short_side, shares)
    try:
        image.draft("RGB", size)  # JPEG only: decodes at a half, quarter or eighth of the size
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _rejection(error) from error
    picture = _reduce(image, size)
    if orientation in _TRANSPOSES:
        picture = np.asarray(Image.fromarray(picture).transpose(_TRANSPOSES[orientation]))
    return crop_region(picture, request.region), [warning] if warning else []


def animation(
    image: Image.Image, request: DecodeRequest
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Start and end in seconds, and uint8[height, width, 3], of every frame.

    Raises:
        Rejection: damaged data.
    """
    size = output_size(*image.size, 1.0, request.short_side, kept_shares(request.region))
    start = 0.0
    for number in range(num_playing_frames(image)):
        try:
            image.seek(number)
            image.load()
        except MemoryError:
            raise
        except Exception as error:
            raise _rejection(error) from error
        seconds = image.info.get("duration", 0) / 1000.0
        if seconds < _SHORTEST_FRAME_SECONDS:
            seconds = _DEFAULT_FRAME_SECONDS
        yield start, start + seconds, crop_region(_reduce(image, size), request.region)
        start += seconds


def _reduce(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    if image.mode.startswith("I"):
        image = Image.fromarray(_high_byte(np.asarray(image)))
    if image.mode == "F":
        raise Rejection(RejectCode.UNSUPPORTED_CODEC, "a picture of floating-point numbers")
    if image.has_transparency_data:
        image = Image.fromarray(on_black(np.asarray(image.convert("RGBA"))))
    image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image)


def _high_byte(values: np.ndarray) -> np.ndarray:
    return np.clip(values.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
