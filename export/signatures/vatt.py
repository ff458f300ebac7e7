"""VATT as served functions: frames, waveforms and strings to embeddings and similarities."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.model_info import ModelInfo
from export.signatures.base import SignatureDoc
from export.signatures.media import (
    FRAMES,
    FREE,
    JPEG,
    WAV,
    WAVEFORM,
    MediaSignatures,
    widest_input,
)
from export.signatures.vatt_docs import signature_docs
from mm_models.text.tokenizers import build_tokenizer
from trainers.tasks.vatt_spaces import with_audio_text


class _VattModule(tf.Module):
    """What the graph uses: the weights as plain variables, the tokenizer with its assets."""

    def __init__(self, model: Any, tokenizer: tf.Module | None):
        super().__init__(name="vatt")
        self.weights = [variable.value for variable in model.variables]
        self.tokenizer = tokenizer


class VattSignatures(MediaSignatures):
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
        modalities = tuple(
            name
            for name in model.config.modalities
            if getattr(input_config, name, None) is not None
        )
        super().__init__(input_config, modalities, info)
        self._model, self._temperature = model, temperature
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
    def default_name(self) -> str:
        """The signature behind `serving_default`: the most useful one there is."""
        preferred = ("similarity", "embed_video_jpeg", "embed_audio", "embed_text")
        return next(name for name in preferred if name in self._specs())

    @property
    def caution(self) -> str:
        return (
            "Similarities rank; a probability only compares the sentences of one request with each "
            "other."
        )

    def docs(self) -> dict[str, SignatureDoc]:
        docs = signature_docs(self._info, self._temperature, self._spaces())
        return {name: docs[name] for name in self._specs()}

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
        texts = tf.TensorSpec([FREE, FREE], tf.string, "texts")
        has_video, has_audio, has_text = (
            modality in self._modalities for modality in ("video", "audio", "text")
        )
        specs = {}
        if has_video:
            specs |= {"embed_video_jpeg": [JPEG], "embed_video_frames": [FRAMES]}
        if has_audio:
            specs |= {"embed_audio": [WAVEFORM], "embed_audio_wav": [WAV]}
        if has_text:
            specs["embed_text"] = [tf.TensorSpec([FREE], tf.string, "text")]
        if has_video and has_text:
            specs |= {"similarity": [JPEG, texts], "classify": [JPEG, texts]}
            specs["similarity_frames"] = [FRAMES, texts]
        if has_audio and has_text:
            specs["similarity_audio"] = [WAVEFORM, texts]
        return specs

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        from_jpeg, from_frames = self._clip_from_jpeg, self._clip_from_frames
        from_waveform, from_wav = self._sound_from_waveform, self._sound_from_wav
        functions = {
            "embed_video_jpeg": lambda frames_jpeg: self._embed("video", from_jpeg(frames_jpeg)),
            "embed_video_frames": lambda frames: self._embed("video", from_frames(frames)),
            "embed_audio": lambda waveform: self._embed("audio", from_waveform(waveform)),
            "embed_audio_wav": lambda wav_bytes: self._embed("audio", from_wav(wav_bytes)),
            "embed_text": lambda text: self._embed_text(text),
            "similarity": lambda frames_jpeg, texts: self._compare(
                "video", from_jpeg(frames_jpeg), texts
            ),
            "similarity_frames": lambda frames, texts: self._compare(
                "video", from_frames(frames), texts
            ),
            "similarity_audio": lambda waveform, texts: self._compare(
                "audio", from_waveform(waveform), texts
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
