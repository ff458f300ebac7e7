"""Fields that evaluators share; each class has its own beside them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from trainers.data.config import InputConfig


@dataclasses.dataclass
class EvaluatorConfig:
    """What every evaluator has; each class has its own fields beside these.

    Attributes:
        kind: names the class (`EVALUATORS` of trainers/registry.py, and the system's own).
        every_steps: evaluate when the step is a multiple of this, instead of
            `trainer.evaluation.interval_steps`; 0 follows the trainer.
        of_best: evaluate once, when training is over, the checkpoint that another evaluator's
            `trainer.checkpoint.best_metric` has chosen: for examples on which nothing is chosen.
    """

    kind: str
    every_steps: int = 0
    of_best: bool = False


@dataclasses.dataclass
class ExamplesConfig(EvaluatorConfig):
    """Of evaluators that read examples.

    Attributes:
        input: test examples.
        max_examples: only the first so many examples; 0 takes all.
    """

    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    max_examples: int = 0


@dataclasses.dataclass
class ShownExamplesConfig(ExamplesConfig):
    """Of evaluators that show some of their examples.

    Attributes:
        num_pictures: examples shown in TensorBoard; 0 writes no pictures.
    """

    num_pictures: int = 4


def inputs_in(config: Any, field: str) -> Iterator[tuple[str, InputConfig]]:
    """Every input in a config, and in the configs and mappings in it, by its full field.

    Inputs without data sets, of fields that are left out, are none.
    """
    if isinstance(config, InputConfig):
        if config.datasets:
            yield field, config
    elif isinstance(config, Mapping):
        for name, value in config.items():
            yield from inputs_in(value, f"{field}.{name}")
    elif dataclasses.is_dataclass(config):
        for one in dataclasses.fields(config):
            yield from inputs_in(getattr(config, one.name), f"{field}.{one.name}")
