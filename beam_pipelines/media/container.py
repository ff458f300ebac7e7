"""Opening a file with FFmpeg under a whitelist, and choosing its streams."""

import contextlib
import dataclasses
import fractions
import os
from collections.abc import Iterator

import av

from beam_pipelines.media import structure
from beam_pipelines.rejects import Reject, RejectCode

# No playlists, no image patterns, no devices, no text formats: nothing that opens a second file.
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegvideo,mpegts,h264,hevc,av1,obu,ivf,"
    "m4v,dv,gxf,mxf,nut,rm,ogg,wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr,ape,wv,tta,tak,voc"
)
# Containers whose header states a length; elsewhere FFmpeg guesses it from the bit rate.
_STATED = ("mov", "matroska", "avi", "asf", "flv", "flac", "aiff")


class Rejection(Exception):
    """Carries a `Reject` up to the public function, which returns it."""

    def __init__(self, code: RejectCode, detail: str):
        super().__init__(detail)
        self.reject = Reject(code, detail)


@dataclasses.dataclass
class Source:
    """An open file.

    Attributes:
        container: PyAV's input container.
        video, audio: the chosen streams, or None.
        num_video_streams, num_audio_streams: without cover pictures.
        zero_seconds: first time stamp of the chosen streams; time 0 of everything we return.
        states_length: whether stated durations are a promise of the header.
    """

    container: av.container.InputContainer
    video: av.VideoStream | None
    audio: av.AudioStream | None
    num_video_streams: int
    num_audio_streams: int
    zero_seconds: float
    states_length: bool

    def stated_end_seconds(self, stream) -> float | None:
        """End of a stream from time 0 as the header promises, or None without a promise."""
        if not self.states_length or not stream.duration or not stream.time_base:
            return None
        start = stream.start_time or 0
        return float((start + stream.duration) * stream.time_base) - self.zero_seconds

    def stated_duration_seconds(self) -> float | None:
        """Length of the whole file as stated or estimated, or None."""
        if self.container.duration is None:
            return None
        seconds = self.container.duration / av.time_base
        # Matroska counts from time stamp 0, also when the first one is much later.
        if self.container.format.name.startswith("matroska") and seconds > self.zero_seconds > 0:
            seconds -= self.zero_seconds
        return seconds


@contextlib.contextmanager
def open_source(path: str) -> Iterator[Source]:
    """Opens `path` for decoding.

    Raises:
        Rejection: FFmpeg cannot open the file, or it holds neither sound nor pictures.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    try:
        container = av.open(f"file:{os.path.abspath(path)}", options=options)
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, UnicodeError) as error:
        raise _open_rejection(path, error) from error
    with container:
        yield _source(path, container)


def packets_of(source: Source, streams: list) -> Iterator[av.Packet]:
    """The packets of some streams in file order; ends with an empty one for each stream.

    Raises:
        Rejection: the file turns out to hold streams that its start does not announce.
    """
    try:
        yield from source.container.demux(streams)
    except IndexError as error:  # PyAV looks the stream up in the list it made at the start
        detail = "packets of a stream that the header does not announce"
        raise Rejection(RejectCode.CORRUPT_CONTAINER, detail) from error


def _open_rejection(path: str, error: Exception) -> Rejection:
    reason = reason_of(error)
    if isinstance(error, av.error.EOFError):
        return Rejection(RejectCode.TRUNCATED, "the file ends inside its headers")
    if isinstance(error, av.error.FileNotFoundError):
        return Rejection(RejectCode.FILE_MISSING, "the file cannot be read")
    if structure.is_known_container(structure.read_head(path)):
        return Rejection(RejectCode.CORRUPT_CONTAINER, f"the header cannot be read: {reason}")
    return Rejection(RejectCode.NOT_MEDIA, f"no container of sound or pictures: {reason}")


def reason_of(error: BaseException) -> str:
    """FFmpeg's words for an error, without the path and the number."""
    if not isinstance(error, av.error.FFmpegError):
        return f"{type(error).__name__}: {error}"
    log = error.log
    said = f" ({log[1]}: {log[2].strip()})" if log else ""
    return f"{error.strerror}{said}"


def _source(path: str, container) -> Source:
    videos = [s for s in container.streams.video if _is_moving(s)]
    audios = list(container.streams.audio)
    if not videos and not audios:
        raise Rejection(RejectCode.NO_STREAMS, "neither a video nor an audio stream")
    video, audio = _choose(videos), _choose(audios)
    starts = [
        float(stream.start_time * stream.time_base)
        for stream in (video, audio)
        if stream is not None and stream.start_time is not None
    ]
    name = container.format.name
    states_length = name.startswith(_STATED)
    if name == "mp3":
        states_length = structure.states_mp3_length(path)
    zero_seconds = min(starts, default=0.0)
    return Source(container, video, audio, len(videos), len(audios), zero_seconds, states_length)


def _is_moving(stream) -> bool:
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return not stream.disposition & still


def _choose(streams: list):
    known = [s for s in streams if s.codec_context is not None]
    if streams and not known:
        kind = streams[0].type
        raise Rejection(RejectCode.UNSUPPORTED_CODEC, f"no decoder for the {kind} stream")
    default = [s for s in known if s.disposition & av.stream.Disposition.default]
    return next(iter(default or known), None)


def aspect_ratio(stream) -> float:
    """Width over height of a stored pixel; 1 when unknown or absurd."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not ratio or ratio <= 0:
        return 1.0
    return float(fractions.Fraction(ratio))
