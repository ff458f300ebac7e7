"""Packets of one stream go in; frames or samples go to the windows; damage is counted."""

import bisect
import math
from collections.abc import Callable

import av
import numpy as np

from beam_pipelines.media.audio import AudioTrack
from beam_pipelines.media.container import Rejection, Source, aspect_ratio, reason_of
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.pictures.frames import FrameScaler
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.media.windows import FrameGrid, SourceFrame, WindowFrames, WindowSamples
from beam_pipelines.rejects import RejectCode

_DEFAULT_FRAME_RATE_HZ = 25.0
_ENCODER_PADDING_SECONDS = 0.15
# Tags between MP3 or AAC files that were put one behind the other; FFmpeg hands them out as sound.
_TAG_MAGICS = (b"ID3", b"TAG", b"APETAGEX")
_PACKETS_AT_A_JOINT = 2
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Pulled-down film has intervals of 2 and 3 fields, which is no varying rate.
_VARYING_RATIO, _VARYING_SECONDS = 1.75, 0.005


class Track:
    """What both kinds of stream share: feeding packets and keeping account of damage.

    Attributes:
        good_seconds, damage_seconds: times of what decoded well, and of each error or doubtful
            frame, in order.
        first_seconds: time of the first frame or sample, None before it.
        num_packets: packets with data that were fed; num_discarded of them are decoded only
            for others to refer to.
        num_ticks: stated durations of these packets, in the stream's time base.
        properties: what has been seen of `SourceProperty`.
        last_error: what the decoder said last.
    """

    def __init__(self, stream, source: Source):
        self.stream = stream
        self.zero_seconds = source.zero_seconds
        self._clock = source.clock
        self._link = 0
        self._last_incomplete = -_PACKETS_AT_A_JOINT, 0  # number of the packet, damages before it
        self.good_seconds: list[float] = []
        self.damage_seconds: list[float] = []
        self.num_packets = 0
        self.num_discarded = 0
        self.num_ticks = 0
        self.num_decoded = 0
        self.first_seconds: float | None = None
        self.last_error = ""
        self.warnings: list[str] = []
        self.properties: set[SourceProperty] = set()

    def push(self, packet: av.Packet) -> None:
        """Decodes one packet of the stream; an empty one repeats what was before it."""
        if packet.size == 0:
            if packet.pts is None and packet.dts is None:  # the demuxer's mark of the end
                self._decode(packet)
            return
        if packet.has_sidedata("encryption_info"):
            raise Rejection(RejectCode.ENCRYPTED, f"the {self.stream.type} stream is encrypted")
        if bytes(packet)[:8].startswith(_TAG_MAGICS):
            self.properties.add(SourceProperty.CHAINED)
            return
        self.num_packets += 1
        self.num_ticks += packet.duration or 0
        self.num_discarded += packet.is_discard
        self._spare_end_of_link()
        if packet.is_corrupt and not self.stream.codec_context.name.startswith("pcm_"):
            self._last_incomplete = self.num_packets, len(self.damage_seconds)
            self._note_damage("a packet is incomplete")
        self._decode(packet)

    def _spare_end_of_link(self) -> None:
        """At the end of a link, the demuxer misses a continuation of its last packets in vain."""
        number, num_damages = self._last_incomplete
        link = self._clock.link_of(self.stream.index)
        if link != self._link and self.num_packets - number <= _PACKETS_AT_A_JOINT:
            del self.damage_seconds[num_damages:]
        self._link = link

    def _decode(self, packet: av.Packet) -> None:
        try:
            frames = self._frames_of(packet)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError as error:
            self._note_damage(reason_of(error))
            return
        for frame in frames:
            self._take(frame)

    def _frames_of(self, packet: av.Packet) -> list:
        return packet.decode()

    def _note_damage(self, message: str) -> None:
        self.last_error = message
        self.damage_seconds.append(self.position_seconds)

    def damaged_share(self, start: float, end: float | None) -> float:
        """Share of damage among all that was decoded between two times."""
        bounds = start, math.inf if end is None else end
        good, bad = (
            bisect.bisect_left(times, bounds[1]) - bisect.bisect_left(times, bounds[0])
            for times in (self.good_seconds, self.damage_seconds)
        )
        return bad / (good + bad) if bad else 0.0


class VideoTrack(Track):
    """The video stream: frames in order of time, onto the grids of the windows.

    A frame after an error is doubtful until the next intact key frame, since frames refer to
    earlier ones; so is a frame that the decoder flags as concealed.
    """

    def __init__(
        self,
        source: Source,
        request: DecodeRequest,
        windows: list[WindowFrames],
        finish: Callable[[np.ndarray], object],
    ):
        super().__init__(source.video, source)
        context = self.stream.codec_context
        context.thread_type = "FRAME" if request.decoder_threads > 1 else "SLICE"
        context.thread_count = request.decoder_threads
        context.options = {"max_pixels": str(request.max_pixels)}
        self.scaler = FrameScaler(aspect_ratio(self.stream), request)
        self._grid = FrameGrid(windows, float(self.stream.time_base or 0))
        self._finish = finish
        rate = self.stream.average_rate or self.stream.guessed_rate
        self._interval = 1.0 / float(rate or _DEFAULT_FRAME_RATE_HZ)
        self._max_jump_seconds = request.max_seconds
        self._doubtful = False
        self.settling = False
        self.position_seconds = 0.0
        self._last_ticks = 0
        self._tick_seconds = float(self.stream.time_base or 0)
        self._intervals_seconds = [math.inf, 0.0]  # shortest and longest
        self._request = request
        self._alpha_decoder: av.VideoCodecContext | None = None
        self._key_stamps: set[int] = set()

    @property
    def end_seconds(self) -> float:
        """End of the last frame."""
        if not self.num_decoded:
            return 0.0
        return self.position_seconds + (self._last_ticks * self._tick_seconds or self._interval)

    def _frames_of(self, packet: av.Packet) -> list[av.VideoFrame]:
        if not self.num_decoded and packet.has_sidedata("matroska_block_additional"):
            self._alpha_decoder = self._alpha_decoder or self._open_alpha_decoder()
        if self._alpha_decoder is None:
            return packet.decode()
        if packet.is_keyframe and packet.pts is not None:
            self._key_stamps.add(packet.pts)
        return self._alpha_decoder.decode(packet if packet.size else None)

    def _open_alpha_decoder(self) -> av.VideoCodecContext | None:
        """The decoder that reads the alpha beside VP8 and VP9 packets; FFmpeg's own drops it."""
        name = _ALPHA_DECODERS.get(self.stream.codec_context.name)
        if name is None:
            return None
        context = av.VideoCodecContext.create(name, "r")
        context.options = {"max_pixels": str(self._request.max_pixels)}
        context.thread_count = self._request.decoder_threads
        return context

    def _is_key(self, frame: av.VideoFrame) -> bool:
        return frame.key_frame or frame.pts in self._key_stamps

    def _take(self, frame: av.VideoFrame) -> None:
        self.scaler.check(frame)
        seconds = self._seconds(frame)
        if self.settling:  # after a seek the first frames may refer to some before it
            if not self._is_key(frame) or frame.is_corrupt:
                return
            self.settling, self._doubtful, self.damage_seconds = False, False, []
        if self.num_decoded and seconds == self.position_seconds:  # program streams guess some
            self.warnings.append(f"a time stamp repeats at {seconds:.3f} s: shown a tick later")
            seconds += self._tick_seconds
        if self.first_seconds is not None and seconds <= self.position_seconds:
            self._note_damage(f"time stamps go back to {seconds:.3f} s")
            return
        if self.first_seconds is None:
            self.first_seconds = seconds
        else:
            self._check_jump(seconds)
            self._note_interval(seconds - self.position_seconds)
        self._judge(frame, seconds)
        self.num_decoded += 1
        self._grid.add(SourceFrame(seconds, lambda: self._finish(self.scaler.scale(frame))))
        self._last_ticks = frame.duration or 0

    def _note_interval(self, seconds: float) -> None:
        shortest, longest = self._intervals_seconds
        self._intervals_seconds = [min(shortest, seconds), max(longest, seconds)]

    def _check_jump(self, seconds: float) -> None:
        """A frame held over a jump of hours would fill the grid, and memory, with itself."""
        if seconds - self.position_seconds > self._max_jump_seconds:
            jump = seconds - self.position_seconds
            detail = f"time stamps jump by {jump:.1f} s at {self.position_seconds:.3f} s"
            raise Rejection(RejectCode.CORRUPT_VIDEO, detail)

    def _seconds(self, frame: av.VideoFrame) -> float:
        if frame.time is None:
            return self.num_decoded * self._interval
        return frame.time - self.zero_seconds

    def _judge(self, frame: av.VideoFrame, seconds: float) -> None:
        self.position_seconds = seconds
        if frame.is_corrupt:
            self._doubtful = True
            self.last_error = self.last_error or "a frame is damaged and was concealed"
        elif self._is_key(frame):
            self._doubtful = False
        (self.damage_seconds if self._doubtful else self.good_seconds).append(seconds)

    def _note_damage(self, message: str) -> None:
        self._doubtful = True
        super()._note_damage(message)

    def finish(self) -> None:
        """Hands out the last frame."""
        self._check_jump(self.end_seconds)
        self._grid.finish(self.end_seconds)
        self.properties |= self.scaler.properties
        shortest, longest = self._intervals_seconds
        varies = longest > _VARYING_RATIO * shortest and longest - shortest > _VARYING_SECONDS
        if varies and not self.damage_seconds:
            self.properties.add(SourceProperty.VARIABLE_FRAME_RATE)


class SoundTrack(Track):
    """The audio stream: mono samples at the target rate, into the windows."""

    def __init__(
        self, source: Source, request: DecodeRequest, spans: list[tuple[float, float | None]]
    ):
        super().__init__(source.audio, source)
        self._spans = spans
        self.samples: list[WindowSamples] = []
        self._audio = AudioTrack(
            request.sample_rate_hz, source.zero_seconds, request.max_seconds, self._emit
        )

    @property
    def position_seconds(self) -> float:
        return self._audio.end_seconds

    end_seconds = position_seconds

    @property
    def rate_hz(self) -> int:
        return self._audio.rate_hz

    def _take(self, frame: av.AudioFrame) -> None:
        self.good_seconds.append(self.position_seconds)
        self.num_decoded += frame.samples
        self._audio.add(frame)
        if self.first_seconds is None:
            self.first_seconds = self.position_seconds - frame.samples / frame.sample_rate

    def _emit(self, position: int, samples: np.ndarray) -> None:
        if not self.samples:
            self.samples = [WindowSamples(*span, self.rate_hz) for span in self._spans]
        for window in self.samples:
            window.add(position, samples)

    def finish(self, stated_end_seconds: float | None) -> None:
        """Hands out the last samples; padding of the encoder beyond the stated end is cut."""
        self._audio.finish()
        self.warnings += self._audio.warnings
        self.properties |= self._audio.properties
        if stated_end_seconds is None:
            return
        if 0 < self.end_seconds - stated_end_seconds < _ENCODER_PADDING_SECONDS:
            for window in self.samples:
                window.cut(round(stated_end_seconds * self.rate_hz))
