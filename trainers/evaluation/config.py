"""Fields that evaluators share; each class has its own beside them."""

import dataclasses

from trainers.data.config import InputConfig


@dataclasses.dataclass
class EvaluatorConfig:
    """What every evaluator has; each class has its own fields beside these.

    Attributes:
        kind: names the class (`EVALUATORS` of trainers/registry.py, and the system's own).
        every_steps: evaluate when the step is a multiple of this, instead of
            `trainer.evaluation.interval_steps`; 0 follows the trainer.
    """

    kind: str
    every_steps: int = 0


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
