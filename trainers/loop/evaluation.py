"""Evaluation during a run: which evaluators are due, the best checkpoint, early stopping."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers import distribution
from trainers.config.schema import ExperimentConfig
from trainers.evaluation.base import Evaluator
from trainers.evaluation.context import EvaluationContext
from trainers.loop.assembly import Assembly
from trainers.loop.checkpoints import Checkpoints
from trainers.loop.monitoring.metrics_log import MetricsLog
from trainers.loop.state import RunState


class Evaluation:
    """Runs evaluators with the averaged weights and keeps the best checkpoint."""

    def __init__(
        self,
        assembly: Assembly,
        evaluators: Mapping[str, Evaluator],
        model_dir: str,
        state: RunState,
        checkpoints: Checkpoints,
        log: MetricsLog,
    ):
        """Takes evaluators by name."""
        self._assembly, self._evaluators = assembly, evaluators
        self._state, self._checkpoints, self._log = state, checkpoints, log
        chief = distribution.is_chief(assembly.strategy)
        self._context = evaluation_context(assembly, model_dir if chief else "", log.writer("eval"))

    def intervals(self) -> list[int]:
        """Steps between evaluations of any evaluator, where there are any."""
        trainer = self._assembly.config.trainer
        own = [one.config.every_steps for one in self._evaluators.values()]
        return sorted({interval or trainer.evaluation.interval_steps for interval in own} - {0})

    def due(self, step: int, *, final: bool) -> list[str]:
        """Names of the evaluators to run after `step`; all of them at the end."""
        if step == self._state.last_evaluation_step:
            return []
        common = self._assembly.config.trainer.evaluation.interval_steps
        intervals = {
            name: one.config.every_steps or common for name, one in self._evaluators.items()
        }
        return [name for name, each in intervals.items() if final or (each > 0 and not step % each)]

    def run(self, step: int, names: list[str]) -> dict[str, float]:
        """Scores of the named evaluators, logged, with the best checkpoint kept up to date."""
        averages = self._assembly.averages
        context = dataclasses.replace(self._context, step=step)
        with averages.in_place() if averages is not None else contextlib.nullcontext():
            scores = evaluate(self._assembly.model, self._evaluators, names, context)
        self._log.write("eval", step, scores)
        self._state.last_evaluation_step = step
        self._consider(step, scores)
        return scores

    def _consider(self, step: int, scores: Mapping[str, float]) -> None:
        """Keeps the checkpoint when the watched metric is the best so far, and counts when it is
        not."""
        trainer = self._assembly.config.trainer
        metric, mode = trainer.checkpoint.best_metric, trainer.checkpoint.best_mode
        evaluator = metric.removeprefix("eval/").split("/")[0]
        if not metric or not any(name.startswith(f"eval/{evaluator}/") for name in scores):
            return
        if metric not in scores:
            raise UserError(
                f"trainer.checkpoint.best_metric is {metric!r}, which the evaluator does not "
                f"report; it reports {sorted(scores)}"
            )
        value = scores[metric]
        sign = 1.0 if mode == "max" else -1.0
        best = self._state.best
        margin = trainer.evaluation.early_stopping_min_delta
        if math.isfinite(value) and (best is None or sign * (value - best["value"]) > margin):
            self._state.best = {"step": step, "value": value}
            self._state.evaluations_since_best = 0
            self._checkpoints.save_best(step, metric, value)
        else:
            self._state.evaluations_since_best += 1

    def should_stop(self) -> bool:
        """Whether patience has run out."""
        patience = self._assembly.config.trainer.evaluation.early_stopping_patience
        return bool(patience) and self._state.evaluations_since_best >= patience


def evaluation_context(
    assembly: Assembly, model_dir: str, writer: tf.summary.SummaryWriter | None
) -> EvaluationContext:
    """The context of a run's evaluations, but for their steps."""
    return EvaluationContext(
        model_dir=model_dir,
        summary_writer=writer,
        strategy=assembly.strategy,
        jit_compile=assembly.config.runtime.jit_compile,
        seed=assembly.config.trainer.seed,
    )


def evaluate(
    model: keras.Model,
    evaluators: Mapping[str, Evaluator],
    names: list[str],
    context: EvaluationContext,
) -> dict[str, float]:
    """Scores as they are logged: `eval/<evaluator>/<metric>`."""
    scores: dict[str, float] = {}
    for name in names:
        for metric, value in evaluators[name].evaluate(model, context).items():
            scores[f"eval/{name}/{metric}"] = float(value)
    return scores


def check_best_metric(config: ExperimentConfig, evaluators: Mapping[str, Evaluator]) -> None:
    """Raises UserError when `best_metric` names no evaluator of this run."""
    metric = config.trainer.checkpoint.best_metric
    parts = metric.split("/")
    if metric and (len(parts) < 3 or parts[0] != "eval" or parts[1] not in evaluators):
        raise UserError(
            f"trainer.checkpoint.best_metric is {metric!r}; write eval/<evaluator>/<metric> with "
            f"an evaluator among {sorted(evaluators)}"
        )
