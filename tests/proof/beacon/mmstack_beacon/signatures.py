"""A beacon as served functions: a picture to a box, and to a sound."""

from typing import Any, Self

import tensorflow as tf
from mmstack_beacon.model import BeaconModel
from mmstack_beacon.task import NUM_DIGITS

from export.signatures import fields
from export.signatures.shared.media import (
    MediaSignatures,
    ServedFunction,
    ServedModule,
    widest_input,
)
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from trainers.runs import Run


class BeaconSignatures(MediaSignatures):
    """Signatures of a trained beacon.

    Args:
        model: with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        info: facts of the run.
    """

    def __init__(self, model: BeaconModel, input_config: Any, info: ModelInfo):
        super().__init__(ServedModule("beacon", model), input_config, ("image",), info, "resize")
        self._model = model

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> Self:
        inputs = widest_input(run.config.streams)
        info = model_info(run, inputs, frame_rate_hz, checkpoint, (), still=inputs.video)
        return cls(run.model, inputs, info)

    @property
    def caution(self) -> str:
        return "It points somewhere in every picture, also in one without a digit."

    def _served(self) -> dict[str, ServedFunction]:
        boxes = {
            "boxes": fields.output_field(fields.BOXES, "where the digit is", ("1", "4")),
            "words": fields.output_field(fields.BOX_WORDS, "which digit it may be", ("1",)),
        }
        config = self._model.config
        sound = {
            "sound": fields.output_field(
                fields.SOUND,
                "a tone, the higher the digit the higher",
                sample_rate_hz=config.sample_rate_hz,
            )
        }
        kind = fields.ENCODED_PICTURE
        return {
            "locate_image": self._of_media(kind, "Points at the digit.", self._locate, boxes),
            "sound_image": self._of_media(kind, "Sounds the digit.", self._sound, sound),
        }

    def _locate(self, video: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, pitches = self._model({"video": video})
        digits = tf.strings.as_string(tf.cast(tf.round(pitches * (NUM_DIGITS - 1)), tf.int32))
        return {"boxes": boxes[:, None], "words": digits[:, None]}

    def _sound(self, video: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sound": self._model.synthesize(self._model({"video": video})[1])}
