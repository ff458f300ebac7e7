"""Which experts a mixture of experts sends each modality's tokens to."""

import dataclasses
import json
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.checks import check_choice
from mm_models.errors import UserError
from mm_models.imp.model import ImpModel
from mm_models.imp.tokens import DEFAULT_PATCH
from trainers.data.config import InputConfig
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches, model_inputs, source
from trainers.evaluation.pictures import drawing, matrices, panels
from trainers.tasks.base import Task

MEANINGS = {
    "probability": "mean probability that the router gives an expert",
    "share": "share of the routed tokens that an expert gets",
}


MEASURES = ("entropy", "left_behind", "confidence")


@dataclasses.dataclass
class ExpertUsageConfig(ShownExamplesConfig):
    """Fields of `expert_usage`.

    Attributes:
        more_inputs: further examples beside those of `input`, such as stills beside clips; the name
            stands in front of their modalities.
        patch: name of the patches (`task.model.video.patches`) that videos are cut into.
    """

    more_inputs: dict[str, InputConfig] = dataclasses.field(default_factory=dict)
    patch: str = DEFAULT_PATCH


@dataclasses.dataclass(frozen=True)
class LayerUsage:
    """What one expert layer did with one kind of input, over all examples.

    Attributes:
        probability: float64[experts] mean router probability of a token.
        share: float64[experts] of all the tokens that experts took.
        entropy: of `share`, 1 where all experts take as many and 0 where one takes all.
        left_behind: share of the tokens that no expert took.
        confidence: mean gate of a token and an expert that took it.
    """

    probability: np.ndarray
    share: np.ndarray
    entropy: float
    left_behind: float
    confidence: float


class ExpertUsageEvaluator(Evaluator):
    """How the experts are used, by layer and by modality.

    For each expert layer TensorBoard gets two pictures of modality (rows) by expert (columns): the
    mean router probability, and the share of the tokens taken. Scores are named
    `<input>_layer<n>_<measure>`, n counting the expert layers from 0; all numbers are also written
    as JSON to `eval/<evaluator>-experts.json`. Rows that lack a modality do not count.
    """

    config_class = ExpertUsageConfig
    config: ExpertUsageConfig

    def __init__(self, name: str, config: ExpertUsageConfig, task: Task):
        super().__init__(name, config, task)
        self._inputs = {"": config.input, **config.more_inputs}
        self._routings = CompiledFunction(
            lambda model, inputs: model.encode(inputs, patch=config.patch).routings
        )

    def metric_names(self) -> set[str]:
        return {f"*_layer*_{measure}" for measure in MEASURES}

    def check_model(self, model: keras.Model) -> None:
        """Raises UserError for a model without experts, or without the patches asked for."""
        super().check_model(model)
        field = f"evaluators.{self.name}"
        if not model.config.num_experts:
            raise UserError(
                f"{field}.kind is expert_usage, but the model has no experts; give it some by "
                "task.model.num_experts"
            )
        check_choice(self.config.patch, sorted(model.patches), f"{field}.patch")

    def evaluate(self, model: ImpModel, context: EvaluationContext) -> dict[str, float]:
        """Raises UserError where no example has a modality."""
        usage: dict[str, list[LayerUsage]] = {}
        for prefix, input_config in self._inputs.items():
            for modality, sums in self._sums(model, input_config, context).items():
                row = f"{prefix}_{modality}" if prefix else modality
                usage[row] = [layer_usage(layer) for layer in sums]
        self._write_numbers(usage, context)
        if context.shows(self.config.num_pictures):
            self.write(usage_panels(usage), context)
        return to_floats(
            {
                f"{row}_layer{number}_{measure}": getattr(layer, measure)
                for row, layers in usage.items()
                for number, layer in enumerate(layers)
                for measure in MEASURES
            }
        )

    def _sums(
        self, model: ImpModel, input_config: InputConfig, context: EvaluationContext
    ) -> dict[str, list[dict]]:
        """The routings' sums over the examples, by modality and layer."""
        found: dict[str, list[dict]] = {}
        for inputs in self._batches(model, input_config):
            for modality, layers in self._routings(model, inputs, context).items():
                now = [{k: v.numpy() for k, v in layer._asdict().items()} for layer in layers]
                before = found.get(modality)
                found[modality] = now if before is None else _added(before, now)
        if not found:
            raise UserError(
                f"evaluators.{self.name} has no example with a modality of the model; choose a "
                "data set that does"
            )
        return found

    def _batches(
        self, model: ImpModel, input_config: InputConfig
    ) -> Iterator[Mapping[str, tf.Tensor]]:
        """Inputs of one modality each, without the rows that lack it or are padding."""
        for batch in batches(input_config, self.config.max_examples):
            real = batch["example_mask"].numpy() > 0
            for modality, values in model_inputs(model.modalities, batch).items():
                present = batch[f"{source(modality)}_mask"].numpy() > 0
                rows = np.flatnonzero(real & present)
                if len(rows):
                    yield {modality: tf.gather(values, rows)}

    def _write_numbers(
        self, usage: Mapping[str, list[LayerUsage]], context: EvaluationContext
    ) -> None:
        table = {
            row: [
                {k: np.asarray(v).tolist() for k, v in dataclasses.asdict(layer).items()}
                for layer in layers
            ]
            for row, layers in usage.items()
        }
        text = json.dumps({"step": context.step, "inputs": table}, indent=1) + "\n"
        self.write_file("-experts.json", text, context)


def layer_usage(sums: Mapping[str, np.ndarray]) -> LayerUsage:
    """What a layer did, from the sums of its `Routing` by field."""
    tokens = max(float(sums["num_tokens"]), 1.0)
    load = np.asarray(sums["load"], np.float64)
    share = load / max(load.sum(), 1.0)
    taken = share[share > 0]
    spread = -(taken * np.log(taken)).sum() / np.log(len(share)) if len(share) > 1 else 1.0
    return LayerUsage(
        probability=np.asarray(sums["probability"], np.float64) / tokens,
        share=share,
        entropy=float(spread),
        left_behind=float(sums["left_behind"]) / tokens,
        confidence=float(sums["gate_sum"]) / max(float(sums["num_dispatched"]), 1.0),
    )


def usage_panels(usage: Mapping[str, list[LayerUsage]]) -> list[panels.Panel]:
    """Two heat maps per expert layer, of every input (by name) by every expert."""
    rows, shown = list(usage), []
    for number, layers in enumerate(zip(*usage.values(), strict=True)):
        for field in MEANINGS:
            values = np.stack([getattr(layer, field) for layer in layers])
            lines = [
                f"{row}: {' '.join(f'{value:.2f}' for value in numbers)}"
                for row, numbers in zip(rows, values, strict=True)
            ]
            picture = matrices.matrix_image(
                values,
                matrices.Axis("input", rows),
                matrices.Axis("expert"),
                meaning=MEANINGS[field],
                low=0.0,
                high=float(values.max()),
            )
            image = drawing.under(picture, lines)
            shown.append(panels.ImagePanel(f"layer{number}/{field}", image))
    return shown


def _added(before: list[dict], now: list[dict]) -> list[dict]:
    return [{key: old[key] + new[key] for key in old} for old, new in zip(before, now, strict=True)]
