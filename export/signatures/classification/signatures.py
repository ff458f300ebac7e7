"""A classifier as served functions: frames or waveforms to classes."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.signatures.base import SignatureDoc
from export.signatures.shared.classes import class_answers, class_docs
from export.signatures.shared.media import (
    FRAMES,
    JPEG,
    WAV,
    WAVEFORM,
    MediaSignatures,
    ServedModule,
    input_docs,
    widest_input,
)
from export.version.model_info import ModelInfo

# Names by modality, and the input each takes.
SPECS = {
    "video": {"classify_video_jpeg": [JPEG], "classify_video_frames": [FRAMES]},
    "audio": {"classify_audio": [WAVEFORM], "classify_audio_wav": [WAV]},
}


class ClassificationSignatures(MediaSignatures):
    """Signatures of a trained classifier.

    All of them work row by row along axis 0 and look at the centre of a clip: averaging over
    several views is up to the client, by sending them as rows.

    Args:
        model: with trained weights, which says by `modality` what it looks at.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        class_names: in index order.
        is_multi_label: whether a class's probability is its own, or one among all.
        info: facts of the run.
    """

    def __init__(
        self,
        model: Any,
        input_config: Any,
        class_names: list[str],
        is_multi_label: bool,
        info: ModelInfo,
    ):
        module = ServedModule("classification", model)
        super().__init__(module, input_config, (model.modality,), info)
        self._model, self._is_multi_label = model, is_multi_label
        self._class_names = list(class_names)

    @classmethod
    def from_run(
        cls, run: Any, frame_rate_hz: float | None, checkpoint: str
    ) -> "ClassificationSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.version.run_facts import model_info

        input_config = widest_input(run.config.streams)
        info = model_info(run, input_config, frame_rate_hz, checkpoint, (run.model.modality,))
        return cls(run.model, input_config, run.task.class_names, run.task.is_multi_label, info)

    @property
    def caution(self) -> str:
        return (
            "Every input gets probabilities for the classes it was trained on, also one that shows "
            "none of them."
        )

    def docs(self) -> dict[str, SignatureDoc]:
        inputs = input_docs(self._info)
        outputs = class_docs(self._class_names, self._is_multi_label)
        return {
            name: SignatureDoc(
                f"Classifies {'clips' if self._model.modality == 'video' else 'sounds'}.",
                {spec.name: inputs[spec.name] for spec in specs},
                outputs,
            )
            for name, specs in self._specs().items()
        }

    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        return SPECS[self._model.modality]

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        prepare = {
            "classify_video_jpeg": self._clip_from_jpeg,
            "classify_video_frames": self._clip_from_frames,
            "classify_audio": self._sound_from_waveform,
            "classify_audio_wav": self._sound_from_wav,
        }[name]
        return lambda media: self._classify(prepare(media))

    def _classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self._model({self._model.modality: inputs}, training=False)
        return class_answers(logits, self._class_names, self._is_multi_label)
