"""Evaluation during a run: which evaluators are due, the best checkpoint, early stopping."""

import contextlib
import dataclasses
import difflib
import fnmatch
import math
from collections.abc import Callable, Mapping

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
from trainers.loop.preemption import StopSignal
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
        stop: StopSignal,
    ):
        """Takes evaluators by name; those that are `of_best` are left to the end of training."""
        self._stop = stop
        self._assembly = assembly
        self._evaluators = {n: one for n, one in evaluators.items() if not one.config.of_best}
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
        if step in (0, self._state.last_evaluation_step):
            return []
        common = self._assembly.config.trainer.evaluation.interval_steps
        intervals = {
            name: one.config.every_steps or common for name, one in self._evaluators.items()
        }
        return [name for name, each in intervals.items() if final or (each > 0 and not step % each)]

    def run(self, step: int, names: list[str]) -> dict[str, float]:
        """Scores of the named evaluators, logged, with the best checkpoint kept up to date.

        Raises StopRequested when any worker is asked to stop meanwhile: then nothing is kept of it.
        """
        averages = self._assembly.averages
        context = dataclasses.replace(self._context, step=step)
        lent = averages.in_place() if averages is not None else contextlib.nullcontext()
        try:
            with lent, self._stop.interrupting():
                scores = evaluate(self._assembly.model, self._evaluators, names, context)
        finally:
            self._stop.check_all()
        self._log.write("eval", step, scores)
        self._consider(step, scores, self._checkpoints.save_best)
        return scores

    def catch_up(self, step: int, *, final: bool) -> dict[str, float]:
        """What was due after `step` when the run that resumes there was cut; call before training.

        Scores that were logged already are taken from there: a checkpoint is written before its
        evaluation, and so does not know them.

        Returns:
            Scores of evaluators that had to run.
        """
        names = self.due(step, final=final)
        logged = self._log.scores("eval", step)
        missing = [name for name in names if not _of_evaluator(logged, name)]
        if names and logged:
            self._consider(step, logged, self._checkpoints.copy_best)
        return self.run(step, missing) if missing else {}

    def _consider(
        self,
        step: int,
        scores: Mapping[str, float],
        keep: Callable[[int, str, float], None],
    ) -> None:
        """Calls `keep` with step, metric and value when the watched metric is the best so far, and
        counts when it is not."""
        self._state.last_evaluation_step = step
        trainer = self._assembly.config.trainer
        metric, mode = trainer.checkpoint.best_metric, trainer.checkpoint.best_mode
        value = watched_score(metric, scores)
        if value is None:
            return
        sign = 1.0 if mode == "max" else -1.0
        best = self._state.best
        if best is not None and (best["metric"], best["mode"]) != (metric, mode):
            # Watched by an earlier part of the run, and not comparable.
            best, self._state.evaluations_since_best = None, 0
        margin = trainer.evaluation.early_stopping_min_delta
        if math.isfinite(value) and (best is None or sign * (value - best["value"]) > margin):
            self._state.best = {"step": step, "value": value, "metric": metric, "mode": mode}
            self._state.evaluations_since_best = 0
            keep(step, metric, value)
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
    """Raises UserError when `best_metric` names no evaluator of this run, or no metric that it is
    known to report, and where evaluators of the best checkpoint would never run."""
    metric = config.trainer.checkpoint.best_metric
    _, _, rest = metric.partition("/")
    evaluator, _, name = rest.partition("/")
    if metric and not (metric.startswith("eval/") and name and evaluator in evaluators):
        raise UserError(
            f"trainer.checkpoint.best_metric is {metric!r}; write eval/<evaluator>/<metric> with "
            f"an evaluator among {sorted(evaluators)}"
        )
    _check_of_best(evaluators, evaluator)
    known = evaluators[evaluator].metric_names() if metric else None
    if known is not None and not any(fnmatch.fnmatchcase(name, one) for one in known):
        near = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise UserError(
            f"trainer.checkpoint.best_metric is {metric!r}, but evaluators.{evaluator} reports no "
            f"{name!r}; did you mean {[f'eval/{evaluator}/{one}' for one in near]}?"
        )


def _check_of_best(evaluators: Mapping[str, Evaluator], watched: str) -> None:
    for name, one in evaluators.items():
        if not one.config.of_best:
            continue
        if watched in ("", name):
            raise UserError(
                f"evaluators.{name}.of_best is true, but trainer.checkpoint.best_metric "
                f"{'is that of the same evaluator' if watched else 'is empty'}; name a metric of "
                "another evaluator there, which chooses the checkpoint"
            )
        if one.config.every_steps:
            raise UserError(
                f"evaluators.{name} has both of_best and every_steps; it runs once, when training "
                "is over: drop one of the two"
            )


def watched_score(metric: str, scores: Mapping[str, float]) -> float | None:
    """The value of `best_metric`; None where there is none, or its evaluator did not run.

    Raises UserError when the evaluator ran and does not report it.
    """
    if not metric or not _of_evaluator(scores, metric.split("/")[1]):
        return None
    if metric not in scores:
        raise UserError(
            f"trainer.checkpoint.best_metric is {metric!r}, which the evaluator does not report; "
            f"it reports {sorted(scores)}; the step is evaluated again when the run resumes"
        )
    return scores[metric]


def _of_evaluator(scores: Mapping[str, float], evaluator: str) -> bool:
    return any(name.startswith(f"eval/{evaluator}/") for name in scores)
