"""Frame geometry, scaling and JPEG: a decoded picture becomes uint8[height, width, 3]."""

import dataclasses
import io
import math

import av
import numpy as np
from PIL import Image

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.pictures.light import to_bt709
from beam_pipelines.media.source_properties import (
    SourceProperty,
    has_defined_matrix,
    matrix_name,
    needs_light_mapping,
    properties_of_frame,
)
from beam_pipelines.rejects import RejectCode

_MAX_SIDE = 65_000  # JPEG's own limit is 65,535
_BT601, _BT709 = 5, 1
_FULL_RANGE = 2
_HD_HEIGHT = 576
# A tooth differs by this much from the lines around it, which are alike, as are every other two.
_TOOTH, _ALIKE = 12, 6
_COMBED_SHARE = 0.03
_COMB_COLUMNS = slice(None, None, 4)
_FRAMES_PER_COMB_CHECK = 10
# A frame whose pixels deviate from their mean by less shows nothing that could be learnt.
_BLANK_DEVIATION = 4.0


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned for display: a horizontal flip, then quarter turns.

    Attributes:
        quarter_turns: counter-clockwise, 0 to 3.
        flip: whether the picture is mirrored left to right before it is turned.
    """

    quarter_turns: int = 0
    flip: bool = False

    @property
    def swaps_sides(self) -> bool:
        return self.quarter_turns % 2 == 1

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Turns uint8[height, width, channels]."""
        if self.flip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, self.quarter_turns))


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The display matrix of a frame as flip and quarter turns (to the nearest 90 degrees)."""
    for entry in frame.side_data:
        if entry.type.name == "DISPLAYMATRIX":
            matrix = np.frombuffer(bytes(entry)[:36], np.int32).astype(np.float64)
            return orientation_of_matrix(*matrix[[0, 1, 3, 4]])
    return Orientation()


def orientation_of_matrix(a: float, b: float, c: float, d: float) -> Orientation:
    """The matrix maps a stored point (x, y), y down, to (a x + c y, b x + d y)."""
    flip = a * d - b * c < 0
    if flip:
        a, b = -a, -b
    if a == 0 and b == 0:
        return Orientation()
    quarter_turns = round(math.degrees(math.atan2(-b, a)) / 90) % 4
    return Orientation(quarter_turns, flip)


def output_size(
    width: int,
    height: int,
    aspect_ratio: float,
    short_side: int | None,
    shares: tuple[float, float] = (1.0, 1.0),
) -> tuple[int, int]:
    """Width and height in square pixels, reduced so that the short side is `short_side`.

    The stored height is kept and the width takes the pixel aspect ratio. Never enlarges.

    Args:
        width, height: stored pixels.
        aspect_ratio: width over height of a stored pixel.
        short_side: pixels wanted; None keeps the size.
        shares: of the width and of the height that will be kept: the short side is theirs.

    Raises:
        Rejection: a side would be longer than a JPEG can be.
    """
    shown_width = width * aspect_ratio
    scale = 1.0
    if short_side is not None:
        scale = min(1.0, short_side / min(shown_width * shares[0], height * shares[1]))
    size = max(1, round(shown_width * scale)), max(1, round(height * scale))
    if max(size) > _MAX_SIDE:
        detail = f"{size[0]}x{size[1]} square pixels, sides are limited to {_MAX_SIDE}"
        raise Rejection(RejectCode.TOO_MANY_PIXELS, detail)
    return size


def kept_shares(region: tuple[float, float, float, float] | None) -> tuple[float, float]:
    """Shares of the width and of the height that a region keeps."""
    return (1.0, 1.0) if region is None else (region[3], region[2])


def crop_region(
    picture: np.ndarray, region: tuple[float, float, float, float] | None
) -> np.ndarray:
    """The region of uint8[height, width, channels], in whole pixels, at least one.

    Args:
        picture: as shown.
        region: top, left, height and width as shares of the picture; None is all of it.
    """
    if region is None:
        return picture
    rows = _whole_pixels(region[0], region[2], picture.shape[0])
    columns = _whole_pixels(region[1], region[3], picture.shape[1])
    return np.ascontiguousarray(picture[rows, columns])


def _whole_pixels(start: float, size: float, length: int) -> slice:
    """The size is rounded, not the end, so that it does not depend on the place."""
    count = min(length, max(1, round(size * length)))
    first = min(round(start * length), length - count)
    return slice(first, first + count)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises Rejection when a picture is larger than the limit."""
    if width * height > max_pixels:
        detail = f"{width}x{height} pixels, the limit is {max_pixels}"
        raise Rejection(RejectCode.TOO_MANY_PIXELS, detail)


class FrameScaler:
    """Scales, converts and turns the frames of one stream; all come out at one size.

    The size is fixed by the first frame. Planes are averaged down first and turned to RGB when
    they are small, so that no full-size RGB picture is ever made and nothing aliases. Transparent
    pixels are laid on black, of interlaced frames the upper field is shown, and light beyond
    BT.709 is mapped to it.

    Attributes:
        orientation: of the first frame.
        properties: what the frames so far have of `SourceProperty`.
    """

    def __init__(self, aspect_ratio: float, request: DecodeRequest):
        self._aspect_ratio = aspect_ratio
        self._short_side = request.short_side
        self._region = request.region
        self._max_pixels = request.max_pixels
        self._size: tuple[int, int] | None = None
        self._stored_size: tuple[int, int] | None = None
        self._num_scaled = 0
        # Each keeps the tables of one conversion; sharing one would rebuild them per frame.
        self._second_step = av.video.reformatter.VideoReformatter()
        self._first_step = av.video.reformatter.VideoReformatter()
        self.orientation = Orientation()
        self.properties: set[SourceProperty] = set()

    def check(self, frame: av.VideoFrame) -> None:
        """Takes size and orientation from the first frame, and watches the size of all.

        Raises:
            Rejection: the frame is too large; streams may change their size.
        """
        check_pixels(frame.width, frame.height, self._max_pixels)
        if self._size is None:
            self.orientation = orientation_of(frame)
            shares = kept_shares(self._region)
            if self.orientation.swaps_sides:
                shares = shares[::-1]
            self._size = output_size(
                frame.width, frame.height, self._aspect_ratio, self._short_side, shares
            )
            self._stored_size = frame.width, frame.height
            self._note_geometry()
        elif (frame.width, frame.height) != self._stored_size:
            self.properties.add(SourceProperty.SIZE_CHANGES)

    def _note_geometry(self) -> None:
        if self.orientation != Orientation():
            self.properties.add(SourceProperty.ROTATED)
        if self._aspect_ratio != 1.0:
            self.properties.add(SourceProperty.NON_SQUARE_PIXELS)

    def scale(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8[height, width, 3] of the frame, or of its region, as shown.

        Raises:
            Rejection: colours that cannot be converted.
        """
        self._note_frame(frame)
        try:
            picture = self._picture(frame)
        except MemoryError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            raise _no_conversion(frame, error) from error
        if self.orientation != Orientation():
            picture = self.orientation.apply(picture)
        return crop_region(picture, self._region)

    def _note_frame(self, frame: av.VideoFrame) -> None:
        self.properties |= properties_of_frame(frame)
        is_checked = self._num_scaled % _FRAMES_PER_COMB_CHECK == 0 and not frame.interlaced_frame
        if is_checked and combed_share(frame) > _COMBED_SHARE:
            self.properties.add(SourceProperty.COMBED)
        self._num_scaled += 1

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        colorspace = _colorspace(frame)
        if frame.interlaced_frame:
            frame = upper_field(frame)
        if any(component.is_alpha for component in frame.format.components):
            # At full size: what is hidden must not bleed into what is seen.
            size = frame.width, frame.height
            opaque = on_black(self._to_rgb(self._first_step, frame, colorspace, size, "rgba"))
            frame = av.VideoFrame.from_ndarray(opaque, format="rgb24")
        elif needs_light_mapping(frame):
            signal = self._to_rgb(self._first_step, frame, colorspace, self._size, "rgb48le")
            return to_bt709(signal, frame.color_trc, frame.color_primaries)
        else:
            frame = self._reduce(frame)
        return self._to_rgb(self._second_step, frame, colorspace, self._size, "rgb24")

    def _reduce(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame at its final size as planes: scaling and converting at once is slower."""
        width, height = self._size
        is_planar_colour = frame.format.name.startswith("yuv")
        if not is_planar_colour or (frame.width, frame.height) == (width, height):
            return frame
        color_range = _color_range(frame)
        return self._first_step.reformat(
            frame,
            width,
            height,
            "yuv420p",
            src_color_range=color_range,
            dst_color_range=color_range,
            interpolation="AREA",
            threads=1,
        )

    @staticmethod
    def _to_rgb(
        reformatter: av.video.reformatter.VideoReformatter,
        frame: av.VideoFrame,
        colorspace: int,
        size: tuple[int, int],
        pixel_format: str,
    ) -> np.ndarray:
        rgb = reformatter.reformat(
            frame,
            *size,
            pixel_format,
            src_colorspace=colorspace,
            src_color_range=_color_range(frame),
            interpolation="AREA",
            threads=1,
        )
        return rgb.to_ndarray()


def _no_conversion(frame: av.VideoFrame, error: Exception) -> Rejection:
    if has_defined_matrix(frame):
        detail = f"colours coded with the matrix {matrix_name(frame.colorspace)}"
    else:
        detail = f"pixels of the format {frame.format.name}"
    return Rejection(RejectCode.UNSUPPORTED_CODEC, f"{detail} cannot be converted: {error}")


def _colorspace(frame: av.VideoFrame) -> int:
    # Untagged video is BT.709 above standard definition, by what encoders and players agree on.
    if has_defined_matrix(frame):
        return frame.colorspace
    return _BT709 if frame.height > _HD_HEIGHT else _BT601


def _color_range(frame: av.VideoFrame) -> int:
    return _FULL_RANGE if frame.format.name.startswith("yuvj") else frame.color_range


def upper_field(frame: av.VideoFrame) -> av.VideoFrame:
    """Every second line of all planes from the first on: one moment of an interlaced frame."""
    field = av.VideoFrame(frame.width, (frame.height + 1) // 2, frame.format.name)
    for source, target in zip(frame.planes, field.planes, strict=True):
        lines = _lines(source)[::2][: target.height]
        padded = np.zeros((target.height, abs(target.line_size)), np.uint8)
        width = min(lines.shape[1], padded.shape[1])
        padded[:, :width] = lines[:, :width]
        target.update(padded)
    for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
        setattr(field, name, getattr(frame, name))
    return field


def _lines(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """uint8[height, line size] of a plane."""
    size = plane.height * plane.line_size
    return np.frombuffer(plane, np.uint8)[:size].reshape(plane.height, plane.line_size)


def combed_share(frame: av.VideoFrame) -> float:
    """Share of an 8-bit planar frame's pixels that are teeth of a comb: two pictures in turns."""
    if not frame.format.name.startswith("yuv") or frame.format.components[0].bits != 8:
        return 0.0
    luma = _lines(frame.planes[0])[:, : frame.width][:, _COMB_COLUMNS].astype(np.int16)
    if len(luma) < 4:
        return 0.0
    step = np.abs(luma[1:-2] - luma[:-3])
    apart = np.maximum(np.abs(luma[2:-1] - luma[:-3]), np.abs(luma[3:] - luma[1:-2]))
    return float(((step > _TOOTH) & (apart < _ALIKE)).mean())


def is_nearly_blank(picture: np.ndarray) -> bool:
    """Whether uint8[height, width, 3] is as good as one colour."""
    return bool(picture.std(axis=(0, 1)).max() < _BLANK_DEVIATION)


def on_black(picture: np.ndarray) -> np.ndarray:
    """uint8[height, width, 3] from uint8[height, width, 4] with straight alpha, over black."""
    weighted = picture[..., :3].astype(np.uint16) * picture[..., 3:]
    return ((weighted + 127) // 255).astype(np.uint8)


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """One baseline JPEG file of uint8[height, width, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
