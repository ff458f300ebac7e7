"""One pass over an open file: packets to tracks, tracks to windows, windows judged as clips."""

import dataclasses
from math import inf
from typing import NamedTuple

import av

from beam_pipelines.media.container import Rejection, Source, packets_of, reason_of
from beam_pipelines.media.decode_contract import MediaInfo
from beam_pipelines.media.decode_plan import DecodedClip, DecodePlan, after_end
from beam_pipelines.media.pictures.frames import check_pixels
from beam_pipelines.media.probe import media_info
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.media.tracks import SoundTrack, Track, VideoTrack
from beam_pipelines.media.windows import WindowFrames
from beam_pipelines.rejects import Reject, RejectCode

# Decoding starts this long before the first window, so that audio decoders have settled.
_PREROLL_SECONDS = 0.25
_SHORTEST_SEEK_SECONDS = 3.0
_MOST_HELD_PACKETS = 400
# Elsewhere FFmpeg guesses where a time lies from the bit rate, and stamps what follows with it; in
# MPEG streams it lands inside a frame of sound, which then decodes to something else.
_SEEKABLE = ("mov", "matroska", "avi", "wav", "flac", "ogg")
_LATE_SEEK_SECONDS = 0.1
# Decoding goes on this long after the last window, so that its last samples are resampled whole.
_SETTLING_SECONDS = 0.05
# Streams may be interleaved unevenly; past this the missing one has ended.
_INTERLEAVE_SECONDS = 10.0
# A stated length may differ from the decoded one by rounding, padding, or a missing last packet.
_LENGTH_TOLERANCE_SECONDS = 0.25
_LENGTH_TOLERANCE_SHARE = 0.01
_MISSING_FRAMES = 2
_LATE_SECONDS, _LATE_VIDEO_SECONDS = 0.1, 0.5


class _Shortfall(NamedTuple):
    """Where a stream ends too early, and a sentence about it."""

    end_seconds: float
    detail: str


class SeekMissed(Exception):
    """The seek led behind the first window: the file must be read from its start."""


class _KeyFrameSkim:
    """Holds video packets back from the last key frame before a time, and drops what is before.

    Where a seek cannot be trusted, late windows of long files then cost demuxing, not decoding, of
    what is before them.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._held: list[av.Packet] = []
        self._is_over = False

    def feed(self, packet: av.Packet, seconds: float | None) -> list[av.Packet]:
        """The packets to decode now, when `packet` of this decoding time comes next."""
        if self._is_over:
            return [packet]
        is_before = packet.size > 0 and seconds is not None and seconds < self._seconds
        if packet.is_keyframe and is_before:
            self._held.clear()
        self._held.append(packet)
        if is_before and len(self._held) <= _MOST_HELD_PACKETS:
            return []
        held, self._held, self._is_over = self._held, [], True
        return held


class FilePass:
    """One run through the packets of an open container."""

    def __init__(self, source: Source, plan: DecodePlan, warnings: list[str]):
        self._source, self._plan, self._warnings = source, plan, warnings
        request = plan.request
        self._windows = plan.frame_windows()
        self._video = self._sound = None
        if source.video is not None and request.want_video:
            context = source.video.codec_context
            check_pixels(context.width, context.height, request.max_pixels)
            self._video = VideoTrack(source, request, self._windows, plan.finish)
        if source.audio is not None and request.want_audio:
            self._sound = SoundTrack(source, request, list(plan.windows))
        self._tracks: list[Track] = [t for t in (self._video, self._sound) if t is not None]
        if not self._tracks:
            raise Rejection(RejectCode.NO_STREAMS, "no stream of a kind that is wanted")
        self._skim: _KeyFrameSkim | None = None
        self._reached_end = False

    def run(self, *, may_seek: bool) -> list[DecodedClip | Reject]:
        """The windows' clips; the file is read from the first one's key frame if `may_seek`.

        Raises:
            Rejection: the whole file is rejected.
            SeekMissed: run another pass over the file, newly opened, with `may_seek=False`.
        """
        if self._source.states_length:
            self._plan.check_length(self._source.stated_duration_seconds())
        sought = may_seek and self._begin_late()
        self._read()
        if sought and (self._began_late() or self._is_chain_of_unknown_start()):
            raise SeekMissed
        if self._video is not None:
            self._video.finish()
        if self._sound is not None:
            is_mov = self._source.container.format.name.startswith("mov")
            stated = self._source.stated_end_seconds(self._source.audio) if is_mov else None
            self._sound.finish(stated if self._reached_end else None)
        self._note_absent()
        shortfall = self._shortfall()
        if self._plan.request.damage_scope == "file":
            self._reject_file(shortfall)
        return [self._clip(number, shortfall) for number in range(len(self._windows))]

    def _begin_late(self) -> bool:
        """Arranges that decoding begins shortly before the first window, if that is worth it."""
        target = self._plan.first_seconds - _PREROLL_SECONDS
        if target < _SHORTEST_SEEK_SECONDS:
            return False
        if self._video is not None:
            self._video.settling = True
        is_seekable = self._source.container.format.name.startswith(_SEEKABLE)
        if not is_seekable or SourceProperty.CHAINED in self._source.properties:
            self._skim = _KeyFrameSkim(target)
            return self._video is not None
        offset = int((target + self._source.zero_seconds) * av.time_base)
        try:
            self._source.container.seek(offset, backward=True)
        except av.error.FFmpegError as error:
            raise SeekMissed from error
        return True

    def _began_late(self) -> bool:
        limit = self._plan.first_seconds + _LATE_SEEK_SECONDS
        return any(t.first_seconds is None or t.first_seconds > limit for t in self._tracks)

    def _is_chain_of_unknown_start(self) -> bool:
        return self._skim is None and self._source.clock.is_chained

    def _read(self) -> None:
        by_index = {track.stream.index: track for track in self._tracks}
        packets = packets_of(self._source, [track.stream for track in self._tracks])
        try:
            for packet in packets:
                if packet.size and self._is_done(packet):
                    return
                track = by_index[packet.stream.index]
                for ready in self._ready(track, packet):
                    track.push(ready)
                self._check_running_length(track)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError as error:
            self._warnings.append(f"reading stopped early: {reason_of(error)}")
        self._reached_end = True

    def _ready(self, track: Track, packet: av.Packet) -> list[av.Packet]:
        if self._skim is None or track is not self._video:
            return [packet]
        return self._skim.feed(packet, self._seconds_of(packet))

    def _seconds_of(self, packet: av.Packet) -> float | None:
        """Decoding time of a packet on our clock, None when it is unknown."""
        if packet.dts is None or packet.time_base is None:
            return None
        return float(packet.dts * packet.time_base) - self._source.zero_seconds

    def _is_done(self, packet: av.Packet) -> bool:
        last = self._plan.last_seconds
        if last is None:
            return False
        if all(track.position_seconds > last + _SETTLING_SECONDS for track in self._tracks):
            return True
        seconds = self._seconds_of(packet)
        return seconds is not None and seconds > last + _INTERLEAVE_SECONDS

    def _check_running_length(self, track: Track) -> None:
        # Only what has been decoded is known to exist: a header may lie either way.
        if self._plan.last_seconds is None:
            self._plan.check_length(track.position_seconds)

    def _note_absent(self) -> None:
        """Streams without packets are as good as absent, unless nothing else is left."""
        empty = [track for track in self._tracks if not track.num_packets]
        if len(empty) == len(self._tracks):
            raise self._nothing_there()
        for track in empty:
            self._warnings.append(f"the {track.stream.type} stream is empty and was left out")

    def _nothing_there(self) -> Rejection:
        if self._plan.first_seconds > 0 or not self._reached_end:
            reject = after_end(self._plan.first_seconds)
            return Rejection(reject.code, reject.detail)
        if self._video is not None:
            return Rejection(RejectCode.NO_FRAMES, "the video stream has no packets")
        return Rejection(RejectCode.NO_SAMPLES, "the audio stream has no packets")

    def _shortfall(self) -> _Shortfall | None:
        """Where what decoded first ends before the header's promise; None where it is kept."""
        if not self._reached_end or not any(track.num_decoded for track in self._tracks):
            return None
        last = self._plan.last_seconds
        found = []
        for stated, end, kind in self._promises():
            stated = stated if last is None else min(stated, last)
            tolerance = _LENGTH_TOLERANCE_SECONDS + _LENGTH_TOLERANCE_SHARE * stated
            if end < stated - tolerance:
                detail = f"{kind} ends at {end:.3f} s, the header promises {stated:.3f} s"
                found.append(_Shortfall(end, detail))
        return min(found, default=None)

    def _promises(self) -> list[tuple[float, float, str]]:
        """Stated end, decoded end and name, of each stream that has a stated end."""
        promises = []
        for track in self._tracks:
            stated = self._source.stated_end_seconds(track.stream)
            if stated is not None and track.num_packets:
                promises.append((stated, track.end_seconds, track.stream.type))
        duration = self._source.stated_duration_seconds()
        only_ours = len(self._source.container.streams) == len(self._tracks)
        if not promises and self._source.states_length and duration and only_ours:
            promises.append((duration, max(t.end_seconds for t in self._tracks), "the file"))
        return promises

    def _reject_file(self, shortfall: _Shortfall | None) -> None:
        if shortfall:
            raise Rejection(RejectCode.TRUNCATED, shortfall.detail)
        self._reject_missing_packets()
        for track in self._tracks:
            self._reject_damage(track, 0.0, None)
            if track.num_packets and not track.num_decoded:
                raise _nothing_decoded(track)
        self._reject_missing_frames()

    def _reject_damage(self, track: Track, start: float, end: float | None) -> None:
        share = track.damaged_share(start, end)
        if not share:
            return
        detail = f"{share:.1%} of the {track.stream.type} is damaged: {track.last_error}"
        if share > self._plan.request.max_damaged_share:
            is_video = track is self._video
            code = RejectCode.CORRUPT_VIDEO if is_video else RejectCode.CORRUPT_AUDIO
            raise Rejection(code, detail)
        self._warnings.append(detail)

    def _has_whole_table(self) -> bool:
        """Whether all of a file with a table of samples (ISO media) has been read."""
        is_mov = self._source.container.format.name.startswith("mov")
        return is_mov and self._reached_end and not self._plan.first_seconds

    def _reject_missing_packets(self) -> None:
        """A table of samples that does not lead to them."""
        for track in self._tracks if self._has_whole_table() else ():
            missing = track.stream.frames - track.num_packets
            # Of sound with samples of one size the table lists samples, and packets hold many.
            if track.stream.type == "audio" and track.num_ticks >= (track.stream.duration or inf):
                continue
            if track.num_packets and missing > _MISSING_FRAMES:
                detail = f"the {track.stream.type} index lists {track.stream.frames} packets, "
                detail += f"{track.num_packets} can be found"
                raise Rejection(RejectCode.CORRUPT_CONTAINER, detail)

    def _reject_missing_frames(self) -> None:
        """Packets that gave no frame, without any error."""
        video = self._video
        if video is None or not self._has_whole_table():
            return
        missing = video.stream.frames - video.num_discarded - video.num_decoded
        missing -= len(video.damage_seconds)
        if missing > _MISSING_FRAMES:
            detail = f"{missing} of {video.stream.frames} listed frames did not decode"
            raise Rejection(RejectCode.TRUNCATED, detail)
        if missing > 0:
            self._warnings.append(f"{missing} of {video.stream.frames} listed frames are missing")

    def _clip(self, number: int, shortfall: _Shortfall | None) -> DecodedClip | Reject:
        start, end = self._plan.windows[number]
        if self._plan.request.damage_scope == "window":
            try:
                self._reject_window(start, end, shortfall)
            except Rejection as rejection:
                return rejection.reject
        window = self._windows[number]
        samples = self._sound.samples if self._sound is not None else []
        waveform = samples[number].waveform() if samples else None
        if not window.frames and waveform is None:
            return after_end(start)
        rate = self._sound.rate_hz if waveform is not None else 0
        return DecodedClip(
            window.values,
            window.times,
            waveform,
            rate,
            self._info(),
            self._clip_warnings(window),
            self._properties(start),
        )

    def _reject_window(self, start: float, end: float | None, shortfall: _Shortfall | None) -> None:
        for track in self._tracks:
            self._reject_damage(track, start, end)
            if track.num_packets and not track.num_decoded:
                raise _nothing_decoded(track)
        reached = shortfall.end_seconds + _LENGTH_TOLERANCE_SECONDS if shortfall else inf
        if shortfall and (end is None or end > reached):
            raise Rejection(RejectCode.TRUNCATED, shortfall.detail)

    def _properties(self, start: float) -> set[SourceProperty]:
        found = self._source.properties.union(*(track.properties for track in self._tracks))
        if self._source.clock.is_chained:
            found.add(SourceProperty.CHAINED)
        for track, late in (
            (self._video, SourceProperty.LATE_VIDEO),
            (self._sound, SourceProperty.LATE_AUDIO),
        ):
            first = track.first_seconds if track is not None else None
            if first is not None and first - start > _LATE_SECONDS:
                found.add(late)
        return found

    def _clip_warnings(self, window: WindowFrames) -> list[str]:
        warnings = list(self._warnings)
        for track in self._tracks:
            warnings += track.warnings
        late = self._video.first_seconds if self._video is not None else None
        if window.frames and late is not None and late - window.start > _LATE_VIDEO_SECONDS:
            warnings.append(f"video begins at {late:.3f} s: its first frame stands before that")
        return warnings

    def _info(self) -> MediaInfo:
        scaler = self._video.scaler if self._video is not None else None
        info = media_info(self._source, scaler.orientation if scaler else None)
        if self._reached_end and self._source.clock.is_chained:
            seconds = self._source.clock.measured_seconds(self._source.zero_seconds)
            return dataclasses.replace(info, duration_seconds=seconds)
        return info


def _nothing_decoded(track: Track) -> Rejection:
    if track.stream.type == "video":
        return Rejection(RejectCode.NO_FRAMES, "no frame came out of the video stream")
    return Rejection(RejectCode.NO_SAMPLES, "no sample came out of the audio stream")
