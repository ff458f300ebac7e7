"""How much of the right box the model's box covers."""

import dataclasses

import keras
import numpy as np

from mm_models import checks
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches
from trainers.tasks.base import Task


@dataclasses.dataclass
class BoxOverlapConfig(ExamplesConfig):
    """Boxes of held-out clips.

    Attributes:
        good_overlap: intersection over union that counts as found.
    """

    good_overlap: float = 0.5


class BoxOverlapEvaluator(Evaluator):
    """Mean intersection over union, and how often it is good."""

    config_class = BoxOverlapConfig
    config: BoxOverlapConfig

    def __init__(self, name: str, config: BoxOverlapConfig, task: Task):
        super().__init__(name, config, task)
        checks.check_part(config.good_overlap, f"evaluators.{name}.good_overlap")
        self._boxes = CompiledFunction(lambda model, tensors: model(tensors)[0])

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        found = []
        for batch in batches(self.config.input, self.config.max_examples):
            boxes = self._boxes(model, {"video": batch["video"]}, context).numpy()
            present = (batch["example_mask"] * batch["boxes_mask"]).numpy() > 0
            found.append(overlaps(boxes, batch["boxes_yxyx_norm"].numpy())[present])
        each = np.concatenate(found)
        good = (each >= self.config.good_overlap).mean()
        return to_floats({"mean_overlap": each.mean(), "found": good, "examples": len(each)})


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float[rows] intersection over union of two float[rows, 4] of boxes."""
    top_left = np.maximum(first[:, :2], second[:, :2])
    bottom_right = np.minimum(first[:, 2:], second[:, 2:])
    shared = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
