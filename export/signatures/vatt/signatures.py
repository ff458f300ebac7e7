"""VATT as served functions: frames, waveforms and strings to embeddings and similarities."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.signatures.base import SignatureDoc
from export.signatures.shared.embedding import EmbeddingSignatures
from export.signatures.shared.media import FRAMES, JPEG, TEXT, TEXTS, WAV, WAVEFORM, widest_input
from export.signatures.vatt.docs import signature_docs
from export.version.model_info import ModelInfo


class VattSignatures(EmbeddingSignatures):
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
        super().__init__("vatt", model, input_config, modalities, info)
        self._temperature = temperature

    @classmethod
    def from_run(cls, run: Any, frame_rate_hz: float | None, checkpoint: str) -> "VattSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.version.run_facts import model_info

        input_config = widest_input(run.config.streams)
        info = model_info(run, input_config, frame_rate_hz, checkpoint, run.model.config.modalities)
        return cls(run.model, input_config, run.config.task.temperature, info)

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the most useful one there is."""
        preferred = ("similarity", "embed_video_jpeg", "embed_audio", "embed_text")
        return next(name for name in preferred if name in self._specs())

    @property
    def embedders(self) -> dict[str, str]:
        names = {"video": "embed_video_jpeg", "audio": "embed_audio", "text": "embed_text"}
        return {kind: name for kind, name in names.items() if kind in self._modalities}

    def temperature(self, modality: str) -> float:
        return self._temperature

    def compared(self, query: str, target: str) -> tuple[str, str]:
        if query == target:
            return f"{query}_va", f"{target}_va"
        return self._model.spaces(query, target)

    def record_input(self, kind: str) -> Any:
        return self._input

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
        has_video, has_audio, has_text = (
            modality in self._modalities for modality in ("video", "audio", "text")
        )
        specs = {}
        if has_video:
            specs |= {"embed_video_jpeg": [JPEG], "embed_video_frames": [FRAMES]}
        if has_audio:
            specs |= {"embed_audio": [WAVEFORM], "embed_audio_wav": [WAV]}
        if has_text:
            specs["embed_text"] = [TEXT]
        if has_video and has_text:
            specs |= {"similarity": [JPEG, TEXTS], "classify": [JPEG, TEXTS]}
            specs["similarity_frames"] = [FRAMES, TEXTS]
        if has_audio and has_text:
            specs["similarity_audio"] = [WAVEFORM, TEXTS]
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

    def _classify(self, video: tf.Tensor, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        compared = self._compare("video", video, texts)
        best = tf.argmax(compared["similarity"], axis=-1, output_type=tf.int32)
        return {
            "probability": compared["probability"],
            "best_index": best,
            "best_text": tf.gather(texts, best, axis=1, batch_dims=1),
        }
