"""From evaluator configs to evaluators."""

from collections.abc import Mapping

from mm_models.errors import UserError
from trainers.evaluation.base import Evaluator
from trainers.evaluation.classes.classification import ClassificationEvaluator
from trainers.evaluation.compiled import CompiledFunction
from trainers.evaluation.config import KINDS, EvaluatorConfig
from trainers.evaluation.loss import LossEvaluator
from trainers.evaluation.places.linear_probe import LinearProbeEvaluator
from trainers.evaluation.places.retrieval import RetrievalEvaluator
from trainers.evaluation.places.zero_shot import ZeroShotEvaluator
from trainers.evaluation.stream_conflict import StreamConflictEvaluator
from trainers.evaluation.writing.generation import GenerationEvaluator
from trainers.evaluation.writing.label_scoring import LabelScoringEvaluator
from trainers.evaluation.writing.likelihood_retrieval import LikelihoodRetrievalEvaluator
from trainers.tasks.base import Task
from trainers.tasks.imp.evaluators.expert_usage import ExpertUsageEvaluator
from trainers.tasks.vatt.evaluators.conflict import ConflictEvaluator

_CLASSES = {
    "zero_shot": ZeroShotEvaluator,
    "retrieval": RetrievalEvaluator,
    "linear_probe": LinearProbeEvaluator,
    "expert_usage": ExpertUsageEvaluator,
    "label_scoring": LabelScoringEvaluator,
    "likelihood_retrieval": LikelihoodRetrievalEvaluator,
}
# These ask the task what is learned.
_TASK_CLASSES = {
    "loss": LossEvaluator,
    "classification": ClassificationEvaluator,
    "conflict": ConflictEvaluator,
    "stream_conflict": StreamConflictEvaluator,
}


def build_evaluators(configs: Mapping[str, EvaluatorConfig], task: Task) -> dict[str, Evaluator]:
    """Evaluators by name: the configured ones, and those the task brings itself.

    Args:
        configs: the experiment's `evaluators`.
        task: gives the losses that `kind: loss` computes, the classes that `kind: classification`
            tells apart, the gradients that `kind: conflict` and `stream_conflict` compare,
            and its own evaluators.

    Raises:
        UserError: for an unknown kind, or fields that do not fit the kind.
    """
    evaluators = dict(task.evaluators())
    # Evaluators that decode alike share what is compiled.
    decoders: dict[str, CompiledFunction] = {}
    for name, config in configs.items():
        if config.kind in _TASK_CLASSES:
            evaluators[name] = _TASK_CLASSES[config.kind](name, config, task)
        elif config.kind == "generation":
            evaluators[name] = GenerationEvaluator(name, config, decoders)
        elif config.kind in _CLASSES:
            evaluators[name] = _CLASSES[config.kind](name, config)
        else:
            raise UserError(
                f"evaluators.{name}.kind is {config.kind!r}; choose one of {list(KINDS)}"
            )
    return evaluators
