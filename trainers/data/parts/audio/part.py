"""Sound of an example: windows of its waveform."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models import checks
from mm_models.errors import UserError
from mm_models.signal import waveform
from trainers.data.parts import sampling
from trainers.data.parts.audio import decode
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.base import InputPart, Parsed, Prepared, range_facts, rows_with
from trainers.data.reading.parse import Wanted, scalar
from trainers.data.reading.reader import RawBatch
from trainers.evaluation.pictures import drawing
from trainers.evaluation.pictures.panels import ImagePanel, Panel, SoundPanel

NUM_PLAYERS = 2
# Louder samples than this were written in another unit than that of [-1, 1].
_LOUDEST = 64.0


class AudioPart(InputPart):
    """`audio: float32[batch, (views,) samples]`, nominally in [-1, 1], and its mask."""

    config: AudioInputConfig
    # Samples without a header may look like text.
    contents = {contract.WAVEFORM_PCM16: ("bytes", "text")}

    @property
    def wanted(self) -> Wanted:
        """The waveform in either encoding; what following a video needs."""
        either = {contract.WAVEFORM_FLOATS: tf.float32, contract.WAVEFORM_PCM16: tf.string}
        sound = Wanted({contract.SAMPLE_RATE: tf.int64}, either=either)
        if not self._follows:
            return sound
        frames = {contract.FRAMES: tf.string}
        return sound | Wanted({contract.FRAME_RATE: tf.float32}, either=frames)

    @property
    def _follows(self) -> bool:
        return self.config.follow_video and self.inputs.video is not None

    @property
    def _num_crops(self) -> int:
        """Views of a window: the video's crops, which all sound alike."""
        return self.inputs.video.num_crops if self.inputs.video is not None else 1

    def validate(self) -> None:
        """Checks sizes, noise and views."""
        audio, video = self.config, self.inputs.video
        fields = ("num_samples", "sample_rate_hz", "sample_stride")
        checks.check_fields(audio, 1, fields, self.field)
        checks.check_fields(audio, 0, ("num_windows", "noise_std_share"), self.field)
        if video is not None and audio.num_windows not in (0, video.num_windows):
            raise UserError(
                f"{self.field}.num_windows is {audio.num_windows} and the video has "
                f"{video.num_windows}; make them equal, or 0 to follow the video"
            )

    def stored_fault(self, dataset, info) -> str:
        """Another sample rate."""
        audio, stored_hz = self.config, (info.get("media") or {}).get("sample_rate_hz")
        if stored_hz and stored_hz != audio.sample_rate_hz * audio.sample_stride:
            return (
                f"{dataset.path} stores audio at {stored_hz} Hz and the input asks for "
                f"sample_rate_hz {audio.sample_rate_hz} times sample_stride {audio.sample_stride}; "
                "change one of them, or preprocess with --sample_rate_hz"
            )
        return ""

    def held_fault(self, survey, dataset) -> str:
        """Another sample rate, where records that nothing describes say it."""
        audio = self.config
        key = dataset.feature_names.get(contract.SAMPLE_RATE, contract.SAMPLE_RATE)
        expected_hz = audio.sample_rate_hz * audio.sample_stride
        if not survey.has(key) or survey.keys[key].content != "int64":
            return ""
        # Records without sound have a rate of 0.
        rates_hz = {survey.keys[key].lowest, survey.keys[key].highest} - {0.0, float(expected_hz)}
        if not rates_hz:
            return ""
        return (
            f"sound is stored at {max(rates_hz):.0f} Hz and the input asks for sample_rate_hz "
            f"{audio.sample_rate_hz} times sample_stride {audio.sample_stride}; change one of them,"
            " or preprocess with --sample_rate_hz"
        )

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """The samples and their mask."""
        shape = self.with_views(self.config.num_samples)
        return {
            "audio": tf.TensorSpec([batch_size, *shape], tf.float32),
            "audio_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def open(self, indexes, *, seed: int, training: bool) -> None:
        """Draws the noise that training takes windows of."""
        super().open(indexes, seed=seed, training=training)
        self._noise_bank = None
        if training and self.config.noise_std_share:
            self._noise_bank = decode.noise_bank(self.config.num_samples, seed)

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Where each row's samples are, and where its windows start."""
        floats = parsed[contract.WAVEFORM_FLOATS]
        pcm16 = scalar(parsed[contract.WAVEFORM_PCM16])
        num_floats = floats.row_lengths()
        num_samples = tf.where(
            num_floats > 0, num_floats, tf.cast(tf.strings.length(pcm16) // 2, tf.int64)
        )
        num_samples = tf.cast(num_samples, tf.int32)
        examples = {
            "pcm16": pcm16,
            "first": floats.row_starts(),
            "count": num_floats,
            "offsets": self._offsets(parsed, raw, num_samples),
        }
        return Prepared({"audio_mask": tf.cast(num_samples > 0, tf.float32)}, examples)

    def _offsets(self, parsed: Parsed, raw: RawBatch, num_samples: tf.Tensor) -> tf.Tensor:
        """First sample of each window: int32[batch, windows]."""
        num_windows = 0 if self.training else self.inputs.num_views // self._num_crops
        offsets = sampling.audio_offsets(
            self.config, num_samples, raw.draws, num_windows=num_windows
        )
        if not self.training or not self._follows:
            return offsets
        num_frames = tf.cast(parsed[contract.FRAMES].row_lengths(), tf.int32)
        frames = sampling.video_offsets(self.inputs.video, num_frames, raw.draws, training=True)
        in_step = sampling.in_step(
            frames[:, 0],
            num_frames,
            scalar(parsed[contract.FRAME_RATE]),
            num_samples,
            tf.cast(scalar(parsed[contract.SAMPLE_RATE]), tf.float32),
        )
        return tf.where(num_frames[:, tf.newaxis] > 0, in_step[:, tf.newaxis], offsets)

    def decode(self, example, draws, seed, parsed) -> dict[str, tf.Tensor]:
        """Cuts the windows out and adds the training noise."""
        first, last = example["first"], example["first"] + example["count"]
        samples = parsed[contract.WAVEFORM_FLOATS].flat_values[first:last]
        windows = decode.sound_windows(self.config, samples, example["pcm16"], example["offsets"])
        if self._noise_bank is not None:
            share, bank = self.config.noise_std_share, self._noise_bank
            sounds = tf.unstack(windows)
            windows = tf.stack([decode.audio_noise(each, share, bank, draws) for each in sounds])
        return {"audio": tf.repeat(windows, self._num_crops, axis=0)}

    def decode_all(self, parsed: Parsed) -> list[tf.Tensor]:
        """Sound that is stored as bytes."""
        stored = parsed[contract.WAVEFORM_PCM16].flat_values
        return [waveform.decode_pcm16(sound) for sound in stored]

    def panels(self, batch, described, *, titled: bool) -> list[Panel]:
        """Spectrograms, and players of the first sounds."""
        rate, pictures, shown = self.config.sample_rate_hz, [], []
        for row, (key, lines) in enumerate(described):
            if float(batch["audio_mask"][row]) == 0:
                continue
            waveform = batch["audio"][row].numpy()
            pictures.append(drawing.spectrogram_image(waveform, rate, lines=[key, *lines[:1]]))
            if row < NUM_PLAYERS:
                shown.append(SoundPanel(f"sound/{row}", waveform, rate, " / ".join(lines)))
        return [*shown, ImagePanel("spectrograms", drawing.stack(pictures))] if pictures else []

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Silence, and samples in another unit."""
        found = self.facts(batch) if "audio" in batch else {}
        loudest = max(abs(found.get("lowest value", 0.0)), abs(found.get("highest value", 0.0)))
        if not loudest <= _LOUDEST:
            return [
                f"samples are as large as {loudest:.4g}, where sound is in [-1, 1]; write them "
                "divided by the largest integer of their format"
            ]
        if found.get("silent sound") != 1.0 or self.config.may_be_silent:
            return []
        return [
            "every sound is silent; listen to the media the records were made of, or set "
            f"{self.field}.may_be_silent to true"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have sound, its range, and how many are silent."""
        rows = rows_with(batch, "audio")
        sounds = batch["audio"][rows]
        found = {"rows that have it": float(rows.mean()), **range_facts(sounds)}
        if len(sounds):
            silent = np.ptp(sounds.reshape(len(sounds), -1), axis=1) == 0
            found["silent sound"] = float(silent.mean())
        return found
