"""From evaluator configs to evaluators."""

from collections.abc import Mapping

from trainers import registry
from trainers.evaluation.base import Evaluator
from trainers.evaluation.config import EvaluatorConfig
from trainers.tasks.base import Task


def build_evaluators(configs: Mapping[str, EvaluatorConfig], task: Task) -> dict[str, Evaluator]:
    """The experiment's evaluators by name.

    Raises UserError for an unknown kind, or values that cannot work.
    """
    built = {}
    for name, config in configs.items():
        field = f"evaluators.{name}.kind"
        kind = registry.evaluator_class(config.kind, task.config.name, field)
        built[name] = kind(name, config, task)
    return built
