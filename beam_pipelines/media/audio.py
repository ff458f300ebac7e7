"""Audio frames become one mono waveform at the target rate, on the media's own clock."""

import math
from collections.abc import Callable

import av
import numpy as np

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.rejects import RejectCode

# Time stamps are rounded by containers (1 ms in Matroska, more in ASF); below this, frames follow
# each other without a gap.
_GAP_SECONDS = 0.05
_BLOCK_SAMPLES = 16_384
_CENTRE, _SURROUND = 0.7071, 0.3536
_FRONT = ("FL", "FR")
# Channels that have nothing in common keep half of their energy.
_CANCELLED_SHARE = 0.02


def to_float(frame: av.AudioFrame) -> np.ndarray:
    """float32[channels, samples] from any sample format; full scale is 1, floats may exceed it."""
    data = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(data.dtype, np.integer):
        return (data / -float(np.iinfo(data.dtype).min)).astype(np.float32)
    return data.astype(np.float32)


def downmix_weights(channel_names: list[str]) -> np.ndarray:
    """float32[channels] that sum to 1, so that no downmix clips.

    Front left and right count alike, the centre by 3 dB more than each of them (it sounds from
    both), surrounds by 3 dB less, the low-frequency channel not at all (ITU-R BS.775). Channels
    without a place count alike.
    """
    if not any(name in _FRONT for name in channel_names):
        return np.full(len(channel_names), 1.0 / len(channel_names), np.float32)
    weights = []
    for name in channel_names:
        if name in _FRONT:
            weights.append(0.5)
        elif name == "FC":
            weights.append(_CENTRE)
        else:
            weights.append(0.0 if name.startswith("LFE") else _SURROUND)
    return np.array(weights, np.float32) / np.float32(sum(weights))


class _Downmix:
    """Audio frames to float32[samples], with an account of what the mix cancels."""

    def __init__(self):
        self._mean_energy = self._mixed_energy = 0.0

    def mix(self, frame: av.AudioFrame) -> np.ndarray:
        data = to_float(frame)
        if len(data) == 1:
            return data[0]
        mixed = downmix_weights([channel.name for channel in frame.layout.channels]) @ data
        self._mean_energy += float(np.vdot(data, data)) / len(data)
        self._mixed_energy += float(np.vdot(mixed, mixed))
        return mixed

    @property
    def cancels(self) -> bool:
        """Whether next to nothing of the channels' energy is left in the mix."""
        return self._mixed_energy < _CANCELLED_SHARE * self._mean_energy


class _Resampler:
    """Blocks of float32[samples] at one rate in, at another rate out; its delay is taken back."""

    def __init__(self, source_rate_hz: int, target_rate_hz: int):
        self._source_rate_hz = source_rate_hz
        self._resampler = None
        if source_rate_hz != target_rate_hz:
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=target_rate_hz)

    def push(self, samples: np.ndarray) -> np.ndarray:
        if self._resampler is None or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = self._source_rate_hz
        return _joined(self._resampler.resample(frame))

    def finish(self) -> np.ndarray:
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return _joined(self._resampler.resample(None))


def _joined(frames: list[av.AudioFrame]) -> np.ndarray:
    return np.concatenate([f.to_ndarray()[0] for f in frames] or [np.zeros(0, np.float32)])


class AudioTrack:
    """Places decoded audio frames on the media's clock and resamples them.

    Gaps in the time stamps become silence, overlaps are cut, sound before time 0 is dropped.

    Attributes:
        num_samples_in: samples decoded, at the source's rate.
        end_seconds: end of the sound on the media's clock.
        warnings: what was filled or cut.
    """

    def __init__(
        self,
        target_rate_hz: int | None,
        zero_seconds: float,
        max_gap_seconds: float,
        emit: Callable[[int, np.ndarray], None],
    ):
        """`emit(position, samples)` takes float32[samples] at the target rate, in order."""
        self._target_rate_hz = target_rate_hz
        self._zero_seconds = zero_seconds
        self._max_gap_seconds = max_gap_seconds
        self._emit = emit
        self._resampler: _Resampler | None = None
        self._downmix = _Downmix()
        self._pending: list[np.ndarray] = []
        self._num_pending = 0
        self._next: int | None = None  # position of the next sample, at the source's rate
        self._out_position = 0
        self.source_rate_hz = 0
        self.num_samples_in = 0
        self.warnings: list[str] = []

    @property
    def rate_hz(self) -> int:
        """Rate of the emitted samples."""
        return self._target_rate_hz or self.source_rate_hz

    @property
    def end_seconds(self) -> float:
        return (self._next or 0) / self.source_rate_hz if self.source_rate_hz else 0.0

    @property
    def properties(self) -> set[SourceProperty]:
        """What the frames so far have of `SourceProperty`."""
        return {SourceProperty.OPPOSITE_CHANNELS} if self._downmix.cancels else set()

    def add(self, frame: av.AudioFrame) -> None:
        """Takes the next decoded frame.

        Raises:
            Rejection: values that are not finite, a rate that changes, a gap beyond reason.
        """
        samples = self._downmix.mix(frame)
        if not np.isfinite(samples).all():
            raise Rejection(RejectCode.CORRUPT_AUDIO, "samples that are not finite numbers")
        if not self.source_rate_hz:
            self.source_rate_hz = frame.sample_rate
            self._resampler = _Resampler(frame.sample_rate, self.rate_hz)
        elif frame.sample_rate != self.source_rate_hz:
            detail = f"the rate changes from {self.source_rate_hz} to {frame.sample_rate} Hz"
            raise Rejection(RejectCode.CORRUPT_AUDIO, detail)
        self.num_samples_in += len(samples)
        self._place(samples, frame.time)

    def _place(self, samples: np.ndarray, seconds: float | None) -> None:
        position = self._next or 0
        if seconds is not None:
            position = round((seconds - self._zero_seconds) * self.source_rate_hz)
        if self._next is None:
            self._begin(max(position, 0))
        tolerance = _GAP_SECONDS * self.source_rate_hz
        if abs(position - self._next) <= tolerance and position >= 0:
            position = self._next
        self._fill_gap(position)
        samples = samples[max(self._next - position, 0) :]
        self._push(samples)

    def _begin(self, position: int) -> None:
        """Starts on a sample that both rates share, so that no rounding shifts the sound."""
        common = math.gcd(self.source_rate_hz, self.rate_hz)
        num_steps = position // (self.source_rate_hz // common)
        self._next = num_steps * (self.source_rate_hz // common)
        self._out_position = num_steps * (self.rate_hz // common)
        self._push(np.zeros(position - self._next, np.float32))

    def _fill_gap(self, position: int) -> None:
        gap = position - self._next
        if gap < 0:
            if self.num_samples_in and self._next:
                self.warnings.append(f"audio overlaps itself at {self.end_seconds:.3f} s: cut")
            return
        gap_seconds = gap / self.source_rate_hz
        if gap_seconds > self._max_gap_seconds:
            detail = f"time stamps jump by {gap_seconds:.1f} s at {self.end_seconds:.3f} s"
            raise Rejection(RejectCode.CORRUPT_AUDIO, detail)
        if gap:
            self.warnings.append(
                f"audio pauses for {gap_seconds:.3f} s at {self.end_seconds:.3f} s: silence"
            )
            while gap > 0:  # in blocks: a window keeps only its own part of a long pause
                self._push(np.zeros(min(gap, _BLOCK_SAMPLES), np.float32))
                gap -= _BLOCK_SAMPLES

    def _push(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        self._next += len(samples)
        self._pending.append(samples)
        self._num_pending += len(samples)
        if self._num_pending >= _BLOCK_SAMPLES:
            self._flush_pending()

    def _flush_pending(self) -> None:
        block = np.concatenate(self._pending or [np.zeros(0, np.float32)])
        self._pending, self._num_pending = [], 0
        self._send(self._resampler.push(block))

    def _send(self, samples: np.ndarray) -> None:
        if len(samples):
            self._emit(self._out_position, samples)
            self._out_position += len(samples)

    def finish(self) -> None:
        """Emits what the resampler still holds."""
        if self._resampler is not None:
            self._flush_pending()
            self._send(self._resampler.finish())
