"""Decoding a media file into clips. Damaged media never raise: they come back as `Reject`.

Policy. A file is rejected, with a code and a sentence, when
  * it cannot be opened, holds no wanted stream, or is encrypted;
  * its own length fields promise more than is there (`truncated`);
  * the decoders report damage to more than `max_damaged_share` of its frames or audio packets,
    by default to any (`corrupt_video`, `corrupt_audio`, `corrupt_image`);
  * a limit of the request is passed.
What is harmless is repaired and named in `warnings`: late sound is preceded by silence, pauses in
the time stamps become silence, streams without packets are left out. What of the source changes its
pictures or sound is undone or named in `properties`.
"""

import contextlib
from collections.abc import Callable, Sequence

import av
import numpy as np

from beam_pipelines.media import layout, structure
from beam_pipelines.media.container import Rejection, open_source
from beam_pipelines.media.decode_contract import (
    ClipMedia,
    DecodedMedia,
    DecodeRequest,
    check_window,
)
from beam_pipelines.media.decode_plan import DecodedClip, DecodePlan
from beam_pipelines.media.file_pass import FilePass, SeekMissed
from beam_pipelines.media.pictures import image as images
from beam_pipelines.media.pictures.clips import image_clips
from beam_pipelines.media.pictures.frames import encode_jpeg, is_nearly_blank
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.rejects import Reject, RejectCode

Windows = Sequence[tuple[float, float | None]]


def decode(path: str, request: DecodeRequest) -> DecodedMedia | Reject:
    """Decodes one part of a file in this process (see `isolated` for untrusted files)."""
    window = request.start_seconds, request.end_seconds
    clip = _clips(path, request, [window], lambda picture: picture)[0]
    if isinstance(clip, Reject):
        return clip
    frames = np.stack(clip.frames) if clip.frames else None
    times = np.array(clip.times, np.float64)
    return DecodedMedia(frames, times, **_shared(clip))


def _shared(clip: DecodedClip) -> dict:
    """What both forms of a decoded clip say; the waveform is limited to full scale."""
    properties, peak, waveform = set(clip.properties), 0.0, clip.waveform
    if waveform is not None:
        peak = float(np.abs(waveform).max())
        waveform = np.clip(waveform, -1.0, 1.0)
    if peak > 1.0:
        properties.add(SourceProperty.LIMITED)
    return {
        "waveform": waveform,
        "sample_rate_hz": clip.sample_rate_hz,
        "info": clip.info,
        "warnings": tuple(clip.warnings),
        "properties": tuple(sorted(map(str, properties))),
        "peak": peak,
    }


def clip_media(path: str, request: DecodeRequest) -> ClipMedia | Reject:
    """Decodes one part of a file into JPEG frames and a waveform."""
    return clip_windows(path, request, [(request.start_seconds, request.end_seconds)])[0]


def clip_windows(path: str, request: DecodeRequest, windows: Windows) -> list[ClipMedia | Reject]:
    """Decodes several parts of a file in one pass, from the first start to the last end.

    Args:
        path: a local file.
        request: its own start and end are not used.
        windows: start and end in seconds from the start of the media; they may overlap and come
            in any order. Decoding starts at the key frame before the first one.

    Returns:
        One clip or reject per window, in the order given. Memory holds the JPEG frames and
        samples of the windows and a few decoded pictures, however long the file is.

    Raises:
        ValueError: a window that is empty or not finite.
    """
    for window in windows:
        check_window(*window)
    if not windows:
        return []
    clips = _clips(path, request, windows, lambda p: _Encoded(p, request.jpeg_quality))
    return [clip if isinstance(clip, Reject) else _clip_media(clip) for clip in clips]


class _Encoded:
    """A frame as JPEG bytes with its size."""

    __slots__ = ("height", "is_nearly_blank", "jpeg", "width")

    def __init__(self, picture: np.ndarray, quality: int):
        self.height, self.width = picture.shape[:2]
        self.jpeg = encode_jpeg(picture, quality)
        self.is_nearly_blank = is_nearly_blank(picture)


def _clip_media(clip: DecodedClip) -> ClipMedia:
    first = clip.frames[0] if clip.frames else None
    return ClipMedia(
        frames_jpeg=[frame.jpeg for frame in clip.frames],
        frame_times_seconds=np.array(clip.times, np.float64),
        height=first.height if first else 0,
        width=first.width if first else 0,
        is_nearly_blank=bool(clip.frames) and all(f.is_nearly_blank for f in clip.frames),
        **_shared(clip),
    )


def _clips(
    path: str, request: DecodeRequest, windows: Windows, finish: Callable[[np.ndarray], object]
) -> list[DecodedClip | Reject]:
    plan = DecodePlan(request, windows, finish)
    try:
        return _open_and_decode(path, plan)
    except Rejection as rejection:
        return [rejection.reject] * len(windows)
    except MemoryError:
        detail = "decoding needs more memory than this process may have"
        return [Reject(RejectCode.DECODE_MEMORY, detail)] * len(windows)
    except av.error.FFmpegError as error:
        detail = f"{type(error).__name__}: {error}".replace(path, "the file")
        return [Reject(RejectCode.CORRUPT_CONTAINER, detail)] * len(windows)


def _open_and_decode(path: str, plan: DecodePlan) -> list[DecodedClip | Reject]:
    if reject := structure.check_file(path, plan.request.max_file_bytes):
        raise Rejection(reject.code, reject.detail)
    head = structure.read_head(path)
    if image_format := structure.image_format(head):
        with images.open_image(path, image_format, plan.request.max_pixels) as image:
            return image_clips(image, plan, layout.properties_of_file(path))
    cut = structure.truncation(path)
    if cut is not None and plan.request.damage_scope == "file":
        raise Rejection(cut.code, cut.detail)
    note = structure.length_warning(path)
    for may_seek in (True, False):
        with contextlib.suppress(SeekMissed), open_source(path) as source:
            return FilePass(source, plan, [note] if note else []).run(may_seek=may_seek)
    raise AssertionError("reading without a seek cannot miss")
