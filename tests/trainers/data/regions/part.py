"""Boxes and the lengths of their regions: one tensor of whole batches, one of each example."""

import tensorflow as tf

from mm_models import checks
from trainers.data.parts.base import InputPart, Prepared, rows_with
from trainers.data.reading.parse import Wanted

PHRASE, BOXES, MARK = "phrase/text", "phrase/boxes", "phrase/mark"


class RegionsPart(InputPart):
    wanted = Wanted({PHRASE: tf.string, BOXES: tf.float32, MARK: tf.string})

    def validate(self):
        checks.check_fields(self.config, 1, ("num_regions",), self.field)
        checks.check_share(self.config.jitter, f"{self.field}.jitter")

    def stored_fault(self, dataset, info):
        if info.get("regions"):
            return ""
        return f"{dataset.path} says nothing of regions; preprocess it with regions"

    def specs(self, batch_size):
        rows = [batch_size, self.config.num_regions]
        return {
            "phrase_length": tf.TensorSpec(rows, tf.int32),
            "boxes": tf.TensorSpec([*rows, 4], tf.float32),
            "regions_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def plan(self):
        return f"  regions: at most {self.config.num_regions}"

    def prepare(self, parsed, raw):
        count = self.config.num_regions
        size = raw.dataset.shape[0]
        texts = parsed[PHRASE].to_tensor("", shape=[size, count])
        boxes = parsed[BOXES].to_tensor(0.0, shape=[size, 4 * count])
        present = tf.cast(parsed[PHRASE].row_lengths() > 0, tf.float32)
        mark = parsed[MARK].to_tensor("", shape=[size, 1])[:, 0]
        return Prepared(
            {"phrase_length": tf.strings.length(texts), "regions_mask": present},
            {"boxes": boxes, "mark": mark},
        )

    def decode(self, example, draws, seed, parsed):
        # Fails for a mark of another size, as a damaged picture would.
        mark = tf.io.decode_raw(example["mark"], tf.float32, fixed_length=4)
        boxes = tf.reshape(example["boxes"], [-1, 4]) + 0.0 * mark
        if self.training:
            boxes += tf.random.stateless_uniform(boxes.shape, seed) * self.config.jitter
        return {"boxes": boxes}

    def facts(self, batch):
        rows = rows_with(batch, "regions")
        return {"rows that have it": rows.mean(), "largest box": batch["boxes"][rows].max()}
