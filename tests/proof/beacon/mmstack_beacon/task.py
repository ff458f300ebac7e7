"""What a beacon learns: where the digit is, and a pitch that tells which one it is."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf
from mmstack_beacon.config import BeaconConfig
from mmstack_beacon.model import PIXELS, BeaconModel

from mm_models.errors import UserError
from mm_models.losses.term import Term
from trainers.evaluation.pictures.batch_panels import media_panels
from trainers.evaluation.pictures.clip_captions import clip_captions
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.terms import Gather, StepTerms

NUM_SHOWN = 4
NUM_DIGITS = 10


@dataclasses.dataclass
class BeaconTaskConfig:
    """What is learned.

    Attributes:
        name: `beacon`.
        model: of the model.
        box_weight: of the error of the box, beside that of the pitch.
    """

    name: str = "beacon"
    model: BeaconConfig = dataclasses.field(default_factory=BeaconConfig)
    box_weight: float = 1.0


class BeaconTask(Task):
    """Mean absolute error of the box, and squared error of the pitch."""

    config: BeaconTaskConfig

    def __init__(self, config, streams):
        """Raises UserError for a stream without boxes and labels, or with other pictures."""
        super().__init__(config, streams)
        for name, stream in streams.items():
            missing = {"video", "boxes", "labels"} - set(stream.input.parts)
            if missing:
                raise UserError(f"streams.{name}.input lacks {sorted(missing)}; add them")
            if (stream.input.video.height, stream.input.video.width) != (PIXELS, PIXELS):
                raise UserError(f"streams.{name}.input.video must be {PIXELS} x {PIXELS} pixels")

    def build_model(self) -> BeaconModel:
        return BeaconModel(self.config.model)

    def encode(
        self,
        model: BeaconModel,
        batch: Mapping[str, tf.Tensor],
        *,
        stream: str,
        training: bool,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return model({"video": batch["video"]}, training=training, seed=seed)

    def terms(
        self,
        model: BeaconModel,
        outputs: tuple[tf.Tensor, tf.Tensor],
        batch: Mapping[str, tf.Tensor],
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        boxes, pitches = outputs
        present = batch["example_mask"] * batch["video_mask"] * batch["boxes_mask"]
        wanted = tf.cast(batch["label"][:, 0], tf.float32) / (NUM_DIGITS - 1)
        errors = {
            "box_error": tf.reduce_mean(tf.abs(boxes - batch["boxes_yxyx_norm"]), axis=1),
            "pitch_error": tf.square(pitches - wanted),
        }
        count = tf.reduce_sum(present)
        sums = {name: tf.reduce_sum(error * present) for name, error in errors.items()}
        loss = self.config.box_weight * sums["box_error"] + sums["pitch_error"]
        return StepTerms(Term(loss, count), {name: Term(s, count) for name, s in sums.items()})

    def tokens_per_example(self, stream: str) -> int:
        return 1

    def summaries(
        self, model: BeaconModel, batch: Mapping[str, tf.Tensor], *, stream: str
    ) -> list[Panel]:
        inputs = self.streams[stream].input
        kept = {name: tensor[:NUM_SHOWN] for name, tensor in batch.items()}
        described = clip_captions(kept["example_id"].numpy().tolist(), inputs)
        return media_panels(kept, described, inputs)
