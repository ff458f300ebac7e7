"""The mean box of a clip's objects."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from mmstack_beacon.boxes_config import BoxesInputConfig

from beam_pipelines.record import contract
from mm_models import checks
from trainers.data.parts.base import InputPart, Parsed, Prepared, rows_with
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch


class BoxesPart(InputPart):
    """`boxes_yxyx_norm: float32[batch, 4]` and `boxes_mask: float32[batch]`."""

    config: BoxesInputConfig
    wanted = Wanted(lists={contract.OBJECT_BOXES: tf.float32})

    def validate(self) -> None:
        checks.check_share(self.config.smallest_side, f"{self.field}.smallest_side")

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        return {
            "boxes_yxyx_norm": tf.TensorSpec([batch_size, 4], tf.float32),
            "boxes_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        rows = raw.dataset.shape[0]
        # [batch, frames * objects * 4] -> [batch, boxes, 4]
        boxes = tf.reshape(self._dense(parsed[contract.OBJECT_BOXES]), [rows, -1, 4])
        sides = tf.minimum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
        counts = tf.cast(sides > self.config.smallest_side, tf.float32)[..., None]
        mean = tf.math.divide_no_nan(
            tf.reduce_sum(boxes * counts, axis=1), tf.reduce_sum(counts, axis=1)
        )
        mask = tf.reduce_max(tf.pad(counts[..., 0], [[0, 0], [0, 1]]), axis=1)
        return Prepared({"boxes_yxyx_norm": mean, "boxes_mask": mask})

    def _dense(self, values: tf.RaggedTensor) -> tf.Tensor:
        dense = values.to_tensor(0.0)
        # A batch without any box still has one, an empty one.
        return tf.pad(dense, [[0, 0], [0, 4]])

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {"rows that have it": float(rows_with(batch, "boxes").mean())}
