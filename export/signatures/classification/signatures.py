"""A classifier as served functions: stills, clips or sounds to classes."""

from collections.abc import Sequence
from typing import Any, cast

import tensorflow as tf

from export.signatures.shared.classes import class_answers, class_fields
from export.signatures.shared.maps import maps_served
from export.signatures.shared.media import (
    NOUNS,
    MediaSignatures,
    ServedFunction,
    ServedModule,
    widest_input,
)
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.contracts import Classifies
from trainers.runs import Run
from trainers.tasks.classification.task import ClassificationTask


class ClassificationSignatures(MediaSignatures):
    """Signatures of a trained classifier.

    All of them work row by row along axis 0 and look at the centre of a clip: averaging over
    several views is up to the client, by sending them as rows.

    Args:
        model: with trained weights, which says by `modality` what it looks at.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        class_names: in index order.
        is_multi_label: whether a class's probability is its own, or one among all.
        info: facts of the run; a size for stills says that the model looks at these.
    """

    def __init__(
        self,
        model: Classifies,
        input_config: Any,
        class_names: Sequence[str],
        is_multi_label: bool,
        info: ModelInfo,
    ):
        self._medium = "image" if info.image_height else model.modality
        crop = input_config.video.crop if input_config.video is not None else "center"
        module = ServedModule("classification", model)
        super().__init__(module, input_config, (self._medium,), info, crop)
        self._model, self._is_multi_label = model, is_multi_label
        self._class_names = list(class_names)

    @classmethod
    def from_run(
        cls, run: Run, frame_rate_hz: float | None, checkpoint: str
    ) -> "ClassificationSignatures":
        config, modality = widest_input(run.config.streams), run.model.modality
        has_stills = modality == "video" and config.video.num_frames == 1
        still, seen = (config.video, ()) if has_stills else (None, (modality,))
        info = model_info(run, config, frame_rate_hz, checkpoint, seen, still=still)
        task = cast(ClassificationTask, run.task)
        return cls(run.model, config, task.class_names, task.is_multi_label, info)

    @property
    def caution(self) -> str:
        return (
            "Every input gets probabilities for the classes it was trained on, also one that shows "
            "none of them."
        )

    def _served(self) -> dict[str, ServedFunction]:
        classes = self._in_each_form(
            f"classify_{self._medium}",
            self._medium,
            f"Classifies {NOUNS[self._medium]}.",
            self._classify,
            class_fields(self._class_names, self._is_multi_label),
        )
        return classes | maps_served(self._model, self._input, self._info)

    def _classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self._model({self._model.modality: inputs}, training=False)
        return class_answers(logits, self._class_names, self._is_multi_label)
