"""Opening a file with FFmpeg under a whitelist, and choosing its streams."""

import contextlib
import dataclasses
import fractions
import math
import os
from collections.abc import Iterator

import av

from beam_pipelines.media import layout, structure
from beam_pipelines.media.source_properties import SourceProperty, properties_of_sound
from beam_pipelines.rejects import Reject, RejectCode

# No playlists, no image patterns, no devices, no text formats: nothing that opens a second file.
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegvideo,mpegts,h264,hevc,av1,obu,ivf,"
    "m4v,dv,gxf,mxf,nut,rm,ogg,wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr,ape,wv,tta,tak,voc"
)
# Containers whose streams may begin anew, as files that were put one behind the other do.
_CHAINABLE = ("ogg", "flac", "matroska", "mpeg")
_RESTART_SECONDS = 0.25
# Containers whose header states a length; elsewhere FFmpeg guesses it from the bit rate.
_STATED = ("mov", "matroska", "avi", "asf", "flv", "flac", "aiff")


class Rejection(Exception):
    """Carries a `Reject` up to the public function, which returns it."""

    def __init__(self, code: RejectCode, detail: str):
        super().__init__(detail)
        self.reject = Reject(code, detail)


class ChainClock:
    """Lays streams that stand one behind the other end to end on one clock.

    A stream whose time stamps go back has begun anew. The first stream to do so begins a link, at
    the end of all that was read; the others join it when they go back in turn.

    Attributes:
        end_seconds: where the packets so far end, by their time stamps.
    """

    def __init__(self, container_name: str):
        self._may_restart = container_name.startswith(_CHAINABLE)
        self._shifts_seconds = [0.0]
        self._links: dict[int, int] = {}
        self._last_seconds: dict[int, float] = {}
        self._steps_seconds: dict[int, float] = {}
        self.end_seconds = -math.inf

    @property
    def is_chained(self) -> bool:
        """Whether a stream has begun anew so far."""
        return len(self._shifts_seconds) > 1

    def measured_seconds(self, zero_seconds: float) -> float | None:
        """Length of what was read, from time 0; None without time stamps."""
        return self.end_seconds - zero_seconds if self.end_seconds > zero_seconds else None

    def link_of(self, stream_index: int) -> int:
        """Number of the link that the packets of a stream now belong to."""
        return self._links.get(stream_index, 0)

    def lay(self, packet: av.Packet) -> None:
        """Moves the next packet of the file to its place on the clock."""
        stamps = [stamp for stamp in (packet.dts, packet.pts) if stamp is not None]
        if not stamps or not packet.time_base:
            return
        tick_seconds, index = float(packet.time_base), packet.stream_index
        decoded_seconds, shown_seconds = stamps[0] * tick_seconds, stamps[-1] * tick_seconds
        before = self._last_seconds.get(index, decoded_seconds)
        self._last_seconds[index] = decoded_seconds
        if decoded_seconds > before:
            self._steps_seconds[index] = decoded_seconds - before
        if self._may_restart and decoded_seconds < before - _RESTART_SECONDS:
            self._links[index] = self.link_of(index) + 1
            if self._links[index] == len(self._shifts_seconds):
                self._shifts_seconds.append(self.end_seconds - shown_seconds)
        shift_seconds = self._shifts_seconds[self.link_of(index)]
        if shift_seconds:
            ticks = round(shift_seconds / tick_seconds)
            packet.pts = packet.pts + ticks if packet.pts is not None else None
            packet.dts = packet.dts + ticks if packet.dts is not None else None
        duration_seconds = (packet.duration or 0) * tick_seconds
        duration_seconds = duration_seconds or self._steps_seconds.get(index, 0.0)
        end_seconds = shown_seconds + shift_seconds + duration_seconds
        self.end_seconds = max(self.end_seconds, end_seconds)


@dataclasses.dataclass
class Source:
    """An open file.

    Attributes:
        container: PyAV's input container.
        video, audio: the chosen streams, or None.
        num_video_streams, num_audio_streams: without cover pictures.
        zero_seconds: first time stamp of the chosen streams; time 0 of everything we return.
        states_length: whether stated durations are a promise of the header.
        clock: where packets are laid as they are read.
        properties: what the headers say of `SourceProperty`.
    """

    container: av.container.InputContainer
    video: av.VideoStream | None
    audio: av.AudioStream | None
    num_video_streams: int
    num_audio_streams: int
    zero_seconds: float
    states_length: bool
    clock: ChainClock
    properties: set[SourceProperty]

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


def measured_seconds(source: Source) -> float | None:
    """Length of the whole file, found by reading its packets to the end without decoding any."""
    streams = [s for s in (source.video, source.audio) if s is not None]
    with contextlib.suppress(av.error.FFmpegError):  # what was read before counts
        for _ in packets_of(source, streams):
            pass
    return source.clock.measured_seconds(source.zero_seconds)


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
    """The packets of some streams in file order, on the source's clock; empty ones end streams.

    Raises:
        Rejection: the file turns out to hold streams that its start does not announce.
    """
    try:
        for packet in source.container.demux(streams):
            source.clock.lay(packet)
            yield packet
    except IndexError as error:  # PyAV looks the stream up in the list it made at the start
        detail = "packets of a stream that the header does not announce"
        raise Rejection(RejectCode.CORRUPT_CONTAINER, detail) from error


def _open_rejection(path: str, error: Exception) -> Rejection:
    reason = reason_of(error)
    if isinstance(error, av.error.EOFError):
        return Rejection(RejectCode.TRUNCATED, "the file ends inside its headers")
    if isinstance(error, av.error.FileNotFoundError):
        return Rejection(RejectCode.FILE_MISSING, "the file cannot be read")
    if cut := structure.truncation(path):
        return Rejection(cut.code, cut.detail)
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
    return Source(
        container,
        video,
        audio,
        len(videos),
        len(audios),
        zero_seconds=min(starts, default=0.0),
        states_length=states_length,
        clock=ChainClock(name),
        properties=_properties(path, container, videos, audios, audio),
    )


def _properties(path: str, container, videos, audios, audio) -> set[SourceProperty]:
    found = layout.properties_of_file(path)
    if len(videos) > 1:
        found.add(SourceProperty.FURTHER_VIDEO_STREAMS)
    if len(audios) > 1:
        found.add(SourceProperty.FURTHER_AUDIO_STREAMS)
    if audio is not None:
        found |= properties_of_sound(audio, container.metadata)
    return found


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
