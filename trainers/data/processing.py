"""From serialized records to one batch of model inputs; runs as a graph on the host."""

import os
from collections.abc import Callable

import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.signal import windows
from trainers.data.parts.video import augment, decode
from trainers.data.parts import sampling
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.reading.parse import Parser, scalar
from trainers.data.parts.prompted.processing import PromptProcessor
from trainers.data.reading.reader import RawBatch
from trainers.data.parts.text.captions import CaptionReader


class BatchProcessor:
    """Parses, samples, decodes and augments one batch."""

    def __init__(
        self,
        config: InputConfig,
        datasets: list[DatasetConfig],
        parser: Parser | None,
        batch_size: int,
        *,
        seed: int,
        training: bool,
        prompts: PromptProcessor | None = None,
    ):
        """Loads the vocabulary where text is read. Raises UserError where it cannot be.

        `parser` is None where nothing of a record is read in the graph, `prompts` where the input
        has none.
        """
        self._config = config
        self._parser = parser
        self._batch_size = batch_size
        self._training = training
        self._noise_bank = None
        if training and config.audio is not None and config.audio.noise_std_share:
            self._noise_bank = augment.noise_bank(config.audio.num_samples, seed)
        self._prompts = prompts
        self._captions = CaptionReader(config.text, datasets) if config.text is not None else None

    def __call__(self, raw: RawBatch) -> dict[str, tf.Tensor]:
        """The batch of `raw`; see `trainers.data.pipeline.build_train_dataset`."""
        parsed, batch = {}, {}
        if self._parser is not None:
            parsed = self._parser(raw.serialized, raw.dataset)
            batch = self._clips(parsed, raw)
        if self._prompts is not None:
            batch |= self._prompts(raw.prompts, raw.seeds)
        if self._captions is not None:
            batch |= self._captions(parsed, raw.dataset, raw.seeds, training=self._training)
        if self._config.num_labels:
            batch["label"] = self._labels(parsed[contract.LABEL_INDEX])
        batch["example_id"] = raw.example_id
        batch["example_mask"] = tf.cast(raw.dataset >= 0, tf.float32)
        return batch

    def _clips(self, parsed: dict[str, tf.RaggedTensor], raw: RawBatch) -> dict[str, tf.Tensor]:
        """Video, audio and their masks, decoded example by example."""
        inputs: dict[str, tf.Tensor] = {"draws": raw.draws, "seed": raw.seeds}
        batch, signature = {}, {}
        video_offsets = None
        if self._config.video is not None:
            frames, video_offsets = self._sampled_frames(parsed, raw)
            inputs |= {"encoded": frames}
            batch["video_mask"] = tf.cast(frames[:, 0] != "", tf.float32)
            signature["video"] = tf.TensorSpec(self._video_shape(), tf.float32)
        if self._config.audio is not None:
            num_samples, sound = self._sampled_sound(parsed, raw, video_offsets)
            inputs |= sound
            batch["audio_mask"] = tf.cast(num_samples > 0, tf.float32)
            signature["audio"] = tf.TensorSpec(self._audio_shape(), tf.float32)
        if not signature:
            return {}
        decoded = tf.map_fn(
            lambda example: self._decode(example, parsed),
            inputs,
            fn_output_signature=signature,
            parallel_iterations=os.cpu_count() or 1,
        )
        for name in signature:
            shape = [self._batch_size, *self._view_axis(), *signature[name].shape[1:]]
            batch[name] = tf.reshape(decoded[name], shape)
        return batch

    def _sampled_frames(self, parsed, raw: RawBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """string[batch, windows * frames] sampled JPEGs and int32[batch, windows] offsets."""
        video = self._config.video
        stored = parsed[contract.FRAMES]
        num_frames = tf.cast(stored.row_lengths(), tf.int32)
        offsets = sampling.video_offsets(video, num_frames, raw.draws, training=self._training)
        indices = windows.window_indices(
            num_frames[:, tf.newaxis], offsets, video.num_frames, video.frame_stride
        )
        indices = tf.reshape(indices, [self._batch_size, -1])
        # One empty column keeps the gather valid for rows, or whole batches, without frames.
        dense = tf.pad(stored.to_tensor(""), [[0, 0], [0, 1]], constant_values="")
        frames = tf.gather(dense, indices, batch_dims=1)
        count = 1 if self._training else video.num_windows
        return tf.ensure_shape(frames, [self._batch_size, count * video.num_frames]), offsets

    def _sampled_sound(
        self, parsed, raw: RawBatch, video_offsets: tf.Tensor | None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """int32[batch] stored samples, and what decoding needs for each example."""
        floats = parsed[contract.WAVEFORM_FLOATS]
        pcm16 = scalar(parsed[contract.WAVEFORM_PCM16])
        num_floats = floats.row_lengths()
        num_samples = tf.where(
            num_floats > 0, num_floats, tf.cast(tf.strings.length(pcm16) // 2, tf.int64)
        )
        num_samples = tf.cast(num_samples, tf.int32)
        sound = {
            "pcm16": pcm16,
            "first": floats.row_starts(),
            "count": num_floats,
            "audio_offsets": self._audio_offsets(parsed, raw, num_samples, video_offsets),
        }
        return num_samples, sound

    def _audio_offsets(
        self, parsed, raw: RawBatch, num_samples: tf.Tensor, video_offsets: tf.Tensor | None
    ) -> tf.Tensor:
        config = self._config
        windows = 0
        if not self._training:
            crops = config.video.num_crops if config.video is not None else 1
            windows = config.num_views // crops
        offsets = sampling.audio_offsets(config.audio, num_samples, raw.draws, num_windows=windows)
        if not self._training or video_offsets is None or not config.sync_audio_video:
            return offsets
        num_frames = tf.cast(parsed[contract.FRAMES].row_lengths(), tf.int32)
        in_step = sampling.in_step(
            video_offsets[:, 0],
            num_frames,
            scalar(parsed[contract.FRAME_RATE]),
            num_samples,
            tf.cast(scalar(parsed[contract.SAMPLE_RATE]), tf.float32),
        )
        return tf.where(num_frames[:, tf.newaxis] > 0, in_step[:, tf.newaxis], offsets)

    def _decode(self, example: dict[str, tf.Tensor], parsed) -> dict[str, tf.Tensor]:
        outputs = {}
        if self._config.video is not None:
            outputs["video"] = tf.cond(
                example["encoded"][0] != "",
                lambda: self._decode_video(example),
                lambda: tf.zeros(self._video_shape()),
            )
        if self._config.audio is not None:
            outputs["audio"] = self._decode_audio(example, parsed)
        return outputs

    def _decode_video(self, example: dict[str, tf.Tensor]) -> tf.Tensor:
        video, encoded = self._config.video, example["encoded"]
        if not self._training:
            return decode.evaluation_views(video, encoded)
        return decode.training_clip(video, encoded, example["draws"], example["seed"])

    def _decode_audio(self, example: dict[str, tf.Tensor], parsed) -> tf.Tensor:
        first, count = example["first"], example["count"]
        samples = parsed[contract.WAVEFORM_FLOATS].flat_values[first : first + count]
        windows = decode.sound_windows(
            self._config.audio,
            samples,
            example["pcm16"],
            example["audio_offsets"],
            self._noise(example["draws"]),
        )
        crops = self._config.video.num_crops if self._config.video is not None else 1
        return tf.repeat(windows, crops, axis=0) if crops > 1 else windows

    def _noise(self, draws: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor] | None:
        if self._noise_bank is None:
            return None
        share = self._config.audio.noise_std_share
        return lambda samples: augment.audio_noise(samples, share, self._noise_bank, draws)

    def _labels(self, labels: tf.RaggedTensor) -> tf.Tensor:
        """int32[batch, num_labels], padded with -1; further labels are dropped."""
        dense = labels.to_tensor(-1, shape=[self._batch_size, self._config.num_labels])
        return tf.cast(dense, tf.int32)

    def _video_shape(self) -> list[int]:
        video = self._config.video
        return [self._config.num_views, video.num_frames, video.height, video.width, 3]

    def _audio_shape(self) -> list[int]:
        return [self._config.num_views, self._config.audio.num_samples]

    def _view_axis(self) -> list[int]:
        return [self._config.num_views] if self._config.num_views > 1 else []
