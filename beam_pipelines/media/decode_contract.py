"""What the decoder is asked for and what it gives back. Imports NumPy and the reject codes only."""

import dataclasses
import math

import numpy as np

# Shares written with a few decimals may add up to a little more than 1.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class DecodeRequest:
    """What to decode, in which form, and within which limits.

    Attributes:
        frame_rate_hz: rate of the constant grid that frames are resampled to; None keeps every
            source frame at its own time.
        short_side: the short side of a frame is reduced to this many pixels; smaller frames are
            left as they are, since enlarging stores no information. None keeps the size.
        region: top, left, height and width of the part of the picture to keep, as shares of the
            picture as shown; None keeps all of it. `short_side` is then the region's.
        sample_rate_hz: rate of the mono waveform; None keeps the rate of the source.
        jpeg_quality: 1 to 95, for `ClipMedia`.
        start_seconds, end_seconds: the part to decode, from the start of the media; None is the
            end. Frame times and the waveform then begin at `start_seconds`.
        max_seconds: more media than this in one clip is rejected as `too_long`.
        max_pixels: larger pictures are rejected before they are decoded.
        max_file_bytes: larger files are rejected before they are opened.
        want_video, want_audio: streams of an unwanted kind are neither decoded nor judged.
        max_damaged_share: accepted share of damaged frames, and of damaged audio packets; the
            default rejects any damage that the decoders see.
        damage_scope: `file` rejects all windows of a damaged file, `window` only those windows
            that damage touches or that a truncated file does not reach.
        decoder_threads: threads of the video decoder. One is best where one child runs per core.

    Raises:
        ValueError: a value outside its range.
    """

    frame_rate_hz: float | None = None
    short_side: int | None = None
    region: tuple[float, float, float, float] | None = None
    sample_rate_hz: int | None = None
    jpeg_quality: int = 90
    start_seconds: float = 0.0
    end_seconds: float | None = None
    max_seconds: float = 3600.0
    max_pixels: int = 50_000_000
    max_file_bytes: int = 8 << 30
    want_video: bool = True
    want_audio: bool = True
    max_damaged_share: float = 0.0
    damage_scope: str = "file"
    decoder_threads: int = 1

    def __post_init__(self):
        for name in ("frame_rate_hz", "short_side", "sample_rate_hz"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive or None, not {value!r}")
        for name in ("max_seconds", "max_pixels", "max_file_bytes", "decoder_threads"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if not 1 <= self.jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must be 1 to 95, not {self.jpeg_quality!r}")
        if not 0.0 <= self.max_damaged_share <= 1.0:
            raise ValueError(f"max_damaged_share must be 0 to 1, not {self.max_damaged_share!r}")
        if self.damage_scope not in ("file", "window"):
            raise ValueError(f"damage_scope must be file or window, not {self.damage_scope!r}")
        check_region(self.region)
        check_window(self.start_seconds, self.end_seconds)


def check_region(region: tuple[float, float, float, float] | None) -> None:
    """Raises ValueError unless it is None, or a rectangle with an area inside the picture."""
    if region is None:
        return
    if len(region) != 4 or not all(math.isfinite(value) for value in region):
        raise ValueError(f"region must be top, left, height and width, not {region!r}")
    top, left, height, width = region
    inside = min(top, left) >= 0 and max(top + height, left + width) <= 1 + _ROUNDING
    if not (inside and min(height, width) > 0):
        raise ValueError(f"region must be a part of the picture, as shares of it, not {region!r}")


def check_window(start_seconds: float, end_seconds: float | None) -> None:
    """Raises ValueError unless 0 <= start < end and both are finite (end may be None)."""
    if not (math.isfinite(start_seconds) and start_seconds >= 0.0):
        raise ValueError(f"start_seconds must be 0 or more, not {start_seconds!r}")
    if end_seconds is not None and not (math.isfinite(end_seconds) and end_seconds > start_seconds):
        raise ValueError(f"end_seconds {end_seconds!r} must be above start {start_seconds!r}")


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What a file says about itself, after a look at its first frame.

    Attributes:
        container: short name of the container or image format.
        duration_seconds: as stated; None when the file does not say.
        has_video, has_audio, is_image: an animated image is video, a still one has `is_image`
            and `has_video` both true and counts as one frame.
        video_codec, audio_codec: names, or None.
        width, height: of the picture as shown: rotated, and with square pixels.
        coded_width, coded_height: as stored.
        rotation_degrees: counter-clockwise turn applied to the stored picture: 0, 90, 180, 270.
        sample_aspect_ratio: width over height of a stored pixel.
        pixel_format: FFmpeg's or Pillow's name.
        frame_rate_hz: average rate as stated, or None.
        num_frames: as stated by the container, or None.
        audio_sample_rate_hz, audio_channels: of the source, or None.
        num_video_streams, num_audio_streams: in the file; the first default one is used.
        start_seconds: first time stamp of the file, which becomes 0.
    """

    container: str
    duration_seconds: float | None = None
    has_video: bool = False
    has_audio: bool = False
    is_image: bool = False
    video_codec: str | None = None
    audio_codec: str | None = None
    width: int | None = None
    height: int | None = None
    coded_width: int | None = None
    coded_height: int | None = None
    rotation_degrees: int = 0
    sample_aspect_ratio: float = 1.0
    pixel_format: str | None = None
    frame_rate_hz: float | None = None
    num_frames: int | None = None
    audio_sample_rate_hz: int | None = None
    audio_channels: int | None = None
    num_video_streams: int = 0
    num_audio_streams: int = 0
    start_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedMedia:
    """Decoded pictures and sound.

    Attributes:
        frames: uint8[frames, height, width, 3] RGB, or None without video.
        frame_times_seconds: float64[frames] from the start of the media; empty without video.
        waveform: float32[samples] mono in [-1, 1] from `start_seconds` on, or None without
            audio. It ends where the sound ends, which may be before or after the last frame.
        sample_rate_hz: of the waveform; 0 without audio.
        info: what the file says about itself.
        warnings: sentences about what was repaired, padded or tolerated.
        properties: names of what the source has that changes pictures or sound, sorted; see
            `source_properties.SourceProperty`.
        peak: largest magnitude of the waveform before it was limited to [-1, 1]; 0 without audio.
    """

    frames: np.ndarray | None
    frame_times_seconds: np.ndarray
    waveform: np.ndarray | None
    sample_rate_hz: int
    info: MediaInfo
    warnings: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    peak: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class ClipMedia:
    """One clip in the form that a record stores.

    Attributes:
        frames_jpeg: one JPEG file per frame; empty without video.
        frame_times_seconds: float64[frames] from the start of the media.
        height, width: of the frames, pixels; 0 without video.
        waveform, sample_rate_hz, info, warnings, properties, peak: as in `DecodedMedia`.
        is_nearly_blank: whether there are frames and every one is as good as one colour.
    """

    frames_jpeg: list[bytes]
    frame_times_seconds: np.ndarray
    height: int
    width: int
    waveform: np.ndarray | None
    sample_rate_hz: int
    info: MediaInfo
    warnings: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    peak: float = 0.0
    is_nearly_blank: bool = False
