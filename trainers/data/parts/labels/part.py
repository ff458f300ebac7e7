"""Labels of an example."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models import checks
from trainers.data.parts.base import InputPart, Parsed, Prepared
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch


class LabelsPart(InputPart):
    """`label: int32[batch, num_labels]` classes, padded with -1."""

    config: LabelsInputConfig
    wanted = Wanted({contract.LABEL_INDEX: tf.int64})

    def validate(self) -> None:
        """Checks the number of labels."""
        checks.check_fields(self.config, 1, ("num_labels",), self.field)

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """The labels alone; a row without any is all padding."""
        return {"label": tf.TensorSpec([batch_size, self.config.num_labels], tf.int32)}

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """The first labels of each row."""
        shape = [raw.dataset.shape[0], self.config.num_labels]
        dense = parsed[contract.LABEL_INDEX].to_tensor(-1, shape=shape)
        return Prepared({"label": tf.cast(dense, tf.int32)})

    def present(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Rows with at least one label."""
        return np.any(batch["label"] >= 0, axis=1)

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Classes that there are not."""
        highest = int(batch["label"].max(initial=-1))
        if not 0 < num_classes <= highest:
            return []
        return [
            f"a record has class {highest}, and only {num_classes} classes, counted from 0, are "
            "known; name them all, or write other labels"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have labels, and which."""
        labels = batch["label"][batch["example_mask"] > 0]
        present = labels[labels >= 0]
        found = {"rows that have it": float((labels >= 0).any(axis=1).mean())}
        if present.size:
            found |= {"lowest class": float(present.min()), "highest class": float(present.max())}
            found["different classes"] = float(len(np.unique(present)))
        return found
