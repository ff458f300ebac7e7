"""Pictures by Pillow: a still image is media of one frame, an animated one is video."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_contract import DecodeRequest, MediaInfo
from beam_pipelines.media.pictures.frames import (
    check_pixels,
    crop_region,
    kept_shares,
    on_black,
    output_size,
)
from beam_pipelines.media.pictures.integer_samples import integer_picture, is_integer_picture
from beam_pipelines.media.source_properties import SourceProperty
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
_UNSUPPORTED_WORDS = ("unknown pixel mode", "unsupported", "cannot handle", "not available")
_PLAYING_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
# As version 2 of ICC profiles describes itself, and as version 4 does.
_SRGB_NAMES = (b"sRGB", "sRGB".encode("utf-16-be"))
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.02
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
        # Pillow says by a warning why it cannot read a header, and, which max_pixels replaces, that
        # a picture is large.
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            Image.WARN_POSSIBLE_FORMATS = True
            image = Image.open(path, formats=[image_format])
    except Image.DecompressionBombError as error:
        raise Rejection(RejectCode.TOO_MANY_PIXELS, f"{error}; limit {max_pixels}") from error
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        reasons = "; ".join(str(warning.message).strip() for warning in said)
        detail = f"the {image_format} header cannot be read: {reasons}".replace(path, "the file")
        raise Rejection(_code_of(reasons), detail) from error
    except Exception as error:  # Pillow's parsers raise whatever the broken bytes lead to
        raise _rejection(error) from error
    with image:
        check_pixels(*image.size, max_pixels)
        yield image


def _rejection(error: Exception) -> Rejection:
    """What broken bytes are called. Raises OSError again that the system raised, not Pillow."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    message = f"{type(error).__name__}: {error}"
    return Rejection(_code_of(message), message)


def _code_of(message: str) -> RejectCode:
    """The code that Pillow's words mean."""
    if "truncated" in message or message.startswith("EOFError"):
        return RejectCode.TRUNCATED
    is_unsupported = any(words in message.lower() for words in _UNSUPPORTED_WORDS)
    return RejectCode.UNSUPPORTED_CODEC if is_unsupported else RejectCode.CORRUPT_IMAGE


def num_playing_frames(image: Image.Image) -> int:
    """How many frames play by themselves: 1 for a still picture; pages and views do not play.

    Raises:
        Rejection: the frames cannot be counted.
    """
    return _num_frames(image) if image.format in _PLAYING_FORMATS else 1


def _num_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Exception as error:  # a GIF is counted by walking through its broken blocks
        raise _rejection(error) from error


def image_info(image: Image.Image) -> MediaInfo:
    """What the header of an open picture says."""
    num_frames = num_playing_frames(image)
    turn = _Turn(image)
    width, height = turn.shown_size
    coded_width, coded_height = turn.stored_size
    return MediaInfo(
        container=image.format.lower(),
        has_video=True,
        is_image=num_frames == 1,
        video_codec=image.format.lower(),
        width=width,
        height=height,
        coded_width=coded_width,
        coded_height=coded_height,
        rotation_degrees=turn.degrees,
        pixel_format=image.mode,
        num_frames=num_frames,
        num_video_streams=1,
    )


class _Turn:
    """How a picture that has not been loaded yet must be turned to be upright.

    Attributes:
        warning: a sentence when its EXIF cannot be read.
        degrees: counter-clockwise turn of the stored picture, without the mirroring.
        shown_size, stored_size: width and height.
    """

    def __init__(self, image: Image.Image):
        self._orientation, self.warning = _orientation(image)
        # Pillow turns TIFF, and no other format, by itself while it loads, and says so before.
        self._is_turned_by_pillow = image.format == "TIFF"
        self.degrees = _TURNS.get(self._orientation, 0)
        self._swaps_sides = self.degrees % 180 != 0
        other_size = image.size[::-1] if self._swaps_sides else image.size
        sizes = image.size, other_size
        self.shown_size, self.stored_size = sizes if self._is_turned_by_pillow else sizes[::-1]

    @property
    def is_none(self) -> bool:
        return self._orientation not in _TRANSPOSES

    def loaded_size(self, request: DecodeRequest) -> tuple[int, int]:
        """Width and height to reduce the picture to, as Pillow loads it."""
        shares = kept_shares(request.region)
        width, height = output_size(*self.shown_size, 1.0, request.short_side, shares)
        return (height, width) if self._swaps_sides and self._left_to_us else (width, height)

    @property
    def _left_to_us(self) -> bool:
        return not self.is_none and not self._is_turned_by_pillow

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Turns uint8[height, width, 3] of the loaded picture."""
        if not self._left_to_us:
            return picture
        turned = Image.fromarray(picture).transpose(_TRANSPOSES[self._orientation])
        return np.asarray(turned)


def _orientation(image: Image.Image) -> tuple[int, str | None]:
    try:
        # The base method: PNG's own would decode the picture here, and swallow what is broken.
        read_exif = Image.Image.getexif if image.format == "PNG" else type(image).getexif
        return int(read_exif(image).get(_ORIENTATION_TAG, 1)), None
    except Exception as error:  # Pillow parses EXIF lazily and raises anything on broken tags
        return 1, f"EXIF cannot be read, shown as stored: {type(error).__name__}"


def properties_of_image(image: Image.Image) -> set[SourceProperty]:
    """What the header of an open picture, not yet loaded, says of `SourceProperty`."""
    gamma = image.info.get("gamma", _SRGB_GAMMA)
    found = {
        SourceProperty.ROTATED: not _Turn(image).is_none,
        SourceProperty.ALPHA: image.has_transparency_data,
        SourceProperty.COLOR_PROFILE: _foreign_profile(image) is not None,
        SourceProperty.OTHER_LIGHT: abs(gamma - _SRGB_GAMMA) > _GAMMA_TOLERANCE,
        SourceProperty.INTEGER_SAMPLES: is_integer_picture(image),
        SourceProperty.FURTHER_PICTURES: num_playing_frames(image) == 1 and _num_frames(image) > 1,
    }
    return {name for name, is_there in found.items() if is_there}


class Still(NamedTuple):
    """A decoded still picture: uint8[height, width, 3] RGB as shown, and what to say about it."""

    picture: np.ndarray
    warnings: list[str]
    properties: set[SourceProperty]


def decode_still(image: Image.Image, request: DecodeRequest) -> Still:
    """The region of a still picture, upright and reduced.

    Transparency lies on black, an ICC profile is applied, and integer samples of more than 8 bits
    are scaled by their range.

    Raises:
        Rejection: damaged data, or samples that are no picture.
    """
    turn, properties = _Turn(image), properties_of_image(image)
    size = turn.loaded_size(request)
    try:
        image.draft("RGB", size)  # JPEG only: decodes at a half, quarter or eighth of the size
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _rejection(error) from error
    picture = crop_region(turn.apply(_reduce(image, size)), request.region)
    return Still(picture, [turn.warning] if turn.warning else [], properties)


def animation(
    image: Image.Image, request: DecodeRequest
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Start and end in seconds, and uint8[height, width, 3], of every frame.

    Raises:
        Rejection: damaged data.
    """
    turn = _Turn(image)
    size = turn.loaded_size(request)
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
        yield start, start + seconds, crop_region(turn.apply(_reduce(image, size)), request.region)
        start += seconds


def _reduce(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    profile = _foreign_profile(image)
    if is_integer_picture(image):
        image = Image.fromarray(integer_picture(image))
    if image.mode == "F":
        raise Rejection(RejectCode.UNSUPPORTED_CODEC, "a picture of floating-point numbers")
    if image.has_transparency_data:
        image = Image.fromarray(on_black(np.asarray(image.convert("RGBA"))))
    if image.mode != "CMYK" or profile is None:
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image if profile is None else _to_srgb(image, profile))


def _foreign_profile(image: Image.Image) -> bytes | None:
    """The picture's ICC profile unless it has none or that of sRGB."""
    profile = image.info.get("icc_profile")
    return profile if profile and not any(name in profile for name in _SRGB_NAMES) else None


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # broken, or of other channels: viewers ignore it
        return image.convert("RGB")
