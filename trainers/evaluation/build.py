"""From evaluator configs to evaluators."""

from collections.abc import Mapping

from mm_models.errors import UserError
from trainers.evaluation.base import Evaluator
from trainers.evaluation.classification import ClassificationEvaluator
from trainers.evaluation.compiled import CompiledFunction
from trainers.evaluation.config import KINDS, EvaluatorConfig
from trainers.evaluation.conflict import ConflictEvaluator
from trainers.evaluation.expert_usage import ExpertUsageEvaluator
from trainers.evaluation.generation import GenerationEvaluator
from trainers.evaluation.label_scoring import LabelScoringEvaluator
from trainers.evaluation.likelihood_retrieval import LikelihoodRetrievalEvaluator
from trainers.evaluation.linear_probe import LinearProbeEvaluator
from trainers.evaluation.loss import LossEvaluator
from trainers.evaluation.retrieval import RetrievalEvaluator
from trainers.evaluation.stream_conflict import StreamConflictEvaluator
from trainers.evaluation.zero_shot import ZeroShotEvaluator
from trainers.tasks.base import Task

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
