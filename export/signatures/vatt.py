"""VATT as served functions: frames, waveforms and strings to embeddings and similarities."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export import layout
from export.arrays import object_array
from export.model_info import ModelInfo
from export.signatures import preprocessing, samples
from export.signatures.base import Arrays, SignatureDoc, Signatures
from export.signatures.vatt_docs import signature_docs
from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer
from trainers.tasks.vatt_spaces import with_audio_text

FREE = None


class _VattModule(tf.Module):
    """What the graph uses: the weights as plain variables, the tokenizer with its assets."""

    def __init__(self, model: Any, tokenizer: tf.Module | None):
        super().__init__(name="vatt")
        self.weights = [variable.value for variable in model.variables]
        self.tokenizer = tokenizer


class VattSignatures(Signatures):
    """Signatures of a trained VATT model.

    All signatures work row by row along axis 0. Embeddings have length 1, so that a dot product is
    a cosine similarity; `<modality>_va` lies in the video-audio space, `<modality>_vt` in the
    video-text space.

    Args:
        model: VattModel with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        temperature: the loss's, which turns similarities into probabilities.
        info: facts of the run.

    Raises:
        UserError: text without a vocabulary.
    """

    def __init__(self, model: Any, input_config: Any, temperature: float, info: ModelInfo):
        self._model, self._input, self._temperature = model, input_config, temperature
        self._info = info
        self._modalities = tuple(
            name
            for name in model.config.modalities
            if getattr(input_config, name, None) is not None
        )
        tokenizer = None
        if "text" in self._modalities:
            text = input_config.text
            tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)
        self._module = _VattModule(model, tokenizer)

    @classmethod
    def from_run(cls, run: Any, frame_rate_hz: float | None, checkpoint: str) -> "VattSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.run_facts import model_info

        input_config = widest_input(run.config.streams)
        info = model_info(run, input_config, frame_rate_hz, checkpoint)
        return cls(run.model, input_config, run.config.task.temperature, info)

    @property
    def module(self) -> tf.Module:
        return self._module

    @property
    def info(self) -> ModelInfo:
        return self._info

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        functions = {
            name: tf.function(self._batch_function(name), input_signature=specs, autograph=False)
            for name, specs in self._specs().items()
        }
        functions[layout.DEFAULT_SIGNATURE] = functions[self.default_name]
        return functions

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the most useful one there is."""
        preferred = ("similarity", "embed_video_jpeg", "embed_audio", "embed_text")
        return next(name for name in preferred if name in self._specs())

    def docs(self) -> dict[str, SignatureDoc]:
        docs = signature_docs(self._info, self._temperature, self._spaces())
        return {name: docs[name] for name in self._specs()}

    def examples(self) -> dict[str, list[Arrays]]:
        return {
            name: [self._example(name, num_rows) for num_rows in (1, 2)] for name in self._specs()
        }

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        if name == layout.DEFAULT_SIGNATURE:
            name = self.default_name
        function = self._batch_function(name)
        num_rows = len(next(iter(inputs.values())))
        rows = [
            function(*(tf.constant(value[row : row + 1]) for value in inputs.values()))
            for row in range(num_rows)
        ]
        return {key: np.concatenate([row[key].numpy() for row in rows]) for key in rows[0]}

    def example_files(self) -> dict[str, bytes]:
        files = {}
        if "video" in self._modalities:
            for index, encoded in enumerate(samples.jpeg_frames(self._frames(row=0))):
                files[f"frame-{index:02d}.jpg"] = encoded
        if "audio" in self._modalities:
            files["sound.wav"] = samples.wav_file(self._waveform(row=0), self._info.sample_rate_hz)
        return files

    def _spaces(self) -> dict[str, list[str]]:
        """Embedding outputs by modality; without text only a joint head has a second space."""
        config = self._model.config
        has_text = "text" in config.modalities
        video_text = has_text or config.head.kind == "mlp_joint"
        return {
            "video": ["video_va", *(["video_vt"] if video_text else [])],
            "audio": ["audio_va", *(["audio_vt"] if has_text else [])],
            "text": ["text_vt"],
        }

    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        """Input signatures by name; the order of the specs is that of the function's arguments."""
        jpeg = tf.TensorSpec([FREE, FREE], tf.string, "frames_jpeg")
        frames = tf.TensorSpec([FREE, FREE, FREE, FREE, 3], tf.uint8, "frames")
        waveform = tf.TensorSpec([FREE, FREE], tf.float32, "waveform")
        wav = tf.TensorSpec([FREE], tf.string, "wav_bytes")
        texts = tf.TensorSpec([FREE, FREE], tf.string, "texts")
        has_video, has_audio, has_text = (
            modality in self._modalities for modality in ("video", "audio", "text")
        )
        specs = {}
        if has_video:
            specs |= {"embed_video_jpeg": [jpeg], "embed_video_frames": [frames]}
        if has_audio:
            specs |= {"embed_audio": [waveform], "embed_audio_wav": [wav]}
        if has_text:
            specs["embed_text"] = [tf.TensorSpec([FREE], tf.string, "text")]
        if has_video and has_text:
            specs |= {"similarity": [jpeg, texts], "classify": [jpeg, texts]}
            specs["similarity_frames"] = [frames, texts]
        if has_audio and has_text:
            specs["similarity_audio"] = [waveform, texts]
        return specs

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        """A function of positional tensors in the order of the signature's specs."""
        video_size = (self._info.num_frames, self._info.height, self._info.width, self._crop)
        from_jpeg = functools.partial(_video_from_jpeg, video_size)
        from_frames = functools.partial(_video_from_frames, video_size)
        functions = {
            "embed_video_jpeg": lambda frames_jpeg: self._embed("video", from_jpeg(frames_jpeg)),
            "embed_video_frames": lambda frames: self._embed("video", from_frames(frames)),
            "embed_audio": lambda waveform: self._embed("audio", self._audio(waveform)),
            "embed_audio_wav": lambda wav_bytes: self._embed("audio", self._audio_wav(wav_bytes)),
            "embed_text": lambda text: self._embed_text(text),
            "similarity": lambda frames_jpeg, texts: self._compare(
                "video", from_jpeg(frames_jpeg), texts
            ),
            "similarity_frames": lambda frames, texts: self._compare(
                "video", from_frames(frames), texts
            ),
            "similarity_audio": lambda waveform, texts: self._compare(
                "audio", self._audio(waveform), texts
            ),
            "classify": lambda frames_jpeg, texts: self._classify(from_jpeg(frames_jpeg), texts),
        }
        return functions[name]

    def _embed(self, modality: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of the modality."""
        pooled = self._model.encode({modality: inputs}, training=False, seed=None)
        spaces = with_audio_text(self._model, self._model.project(pooled, training=False))
        return {
            name: tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1)
            for name, value in spaces.items()
            if name.startswith(f"{modality}_")
        }

    def _embed_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of `text: string[batch]`."""
        ids = self._module.tokenizer.tokenize(text, self._input.text.num_tokens)
        # [batch, tokens] → one candidate per row: [batch, 1, tokens]
        embedded = self._embed("text", ids[:, tf.newaxis])
        return {name: tf.reshape(e, [-1, e.shape[-1]]) for name, e in embedded.items()}

    def _compare(self, modality: str, inputs: tf.Tensor, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Cosine similarity and probability: float32[batch, texts]."""
        row = self._embed(modality, inputs)[f"{modality}_vt"]
        # The rows of a batch often share their sentences: each different one is embedded once.
        different, index = tf.unique(tf.reshape(texts, [-1]))
        embedded = tf.gather(self._embed_text(different)["text_vt"], index)
        embedded = tf.reshape(embedded, tf.concat([tf.shape(texts), [row.shape[-1]]], axis=0))
        similarity = tf.einsum("bd,btd->bt", row, embedded)
        return {
            "similarity": similarity,
            "probability": tf.nn.softmax(similarity / self._temperature, axis=-1),
        }

    def _classify(self, video: tf.Tensor, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        compared = self._compare("video", video, texts)
        best = tf.argmax(compared["similarity"], axis=-1, output_type=tf.int32)
        return {
            "probability": compared["probability"],
            "best_index": best,
            "best_text": tf.gather(texts, best, axis=1, batch_dims=1),
        }

    def _audio(self, waveform: tf.Tensor) -> tf.Tensor:
        return preprocessing.audio_from_waveform(waveform, self._info.num_samples)

    def _audio_wav(self, wav_bytes: tf.Tensor) -> tf.Tensor:
        return preprocessing.audio_from_wav(
            wav_bytes, self._info.num_samples, self._info.sample_rate_hz
        )

    @property
    def _crop(self) -> str:
        return self._input.video.crop if self._input.video is not None else ""

    def _example(self, name: str, num_rows: int) -> Arrays:
        makers = {
            "frames_jpeg": lambda row: object_array(samples.jpeg_frames(self._frames(row))),
            "frames": self._frames,
            "waveform": self._waveform,
            "wav_bytes": lambda row: samples.wav_file(
                self._waveform(row), self._info.sample_rate_hz
            ),
            "text": lambda row: samples.TEXTS[row % 3].encode(),
            "texts": lambda row: object_array([text.encode() for text in samples.TEXTS]),
        }
        return {
            spec.name: _stack([makers[spec.name](row) for row in range(num_rows)])
            for spec in self._specs()[name]
        }

    def _frames(self, row: int) -> np.ndarray:
        # Neither the model's size nor its aspect, so that the resizing inside the graph is
        # exercised.
        height, width = self._info.height + 8, self._info.width + 20
        return samples.moving_square(self._info.num_frames + 1, height, width, row)

    def _waveform(self, row: int) -> np.ndarray:
        rate = self._info.sample_rate_hz
        return samples.chirp(int(0.75 * self._info.num_samples), rate, row)


def widest_input(streams: Mapping[str, Any]) -> Any:
    """The stream's input with the most modalities; the first one of several.

    Raises:
        UserError: there is no stream.
    """
    if not streams:
        raise UserError("the run's config has no streams, so nothing says what its inputs are")
    inputs = [stream.input for stream in streams.values()]
    return max(inputs, key=lambda config: sum(_has(config, name) for name in _MODALITIES))


_MODALITIES = ("video", "audio", "text")


def _has(input_config: Any, modality: str) -> bool:
    return getattr(input_config, modality, None) is not None


def _video_from_jpeg(size: tuple[int, int, int, str], frames_jpeg: tf.Tensor) -> tf.Tensor:
    return preprocessing.video_from_jpeg(frames_jpeg, *size)


def _video_from_frames(size: tuple[int, int, int, str], frames: tf.Tensor) -> tf.Tensor:
    return preprocessing.video_from_frames(frames, *size)


def _stack(rows: list) -> np.ndarray:
    if isinstance(rows[0], bytes):
        return object_array(rows)
    return np.stack(rows)
