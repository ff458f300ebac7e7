"""Evaluations that restore a checkpoint: those of the evaluating modes, and of the best one."""

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.progress import ProgressBar
from trainers import distribution, runs
from trainers.config.schema import ExperimentConfig
from trainers.evaluation.base import Evaluator
from trainers.loop import checkpoints
from trainers.loop.assembly import Assembly
from trainers.loop.evaluation import evaluate, evaluation_context, watched_score
from trainers.loop.monitoring.metrics_log import MetricsLog
from trainers.loop.preemption import StopSignal


def evaluate_checkpoints(
    assembly: Assembly,
    evaluators: Mapping[str, Evaluator],
    model_dir: str,
    stop: StopSignal,
    *,
    once: bool,
) -> int:
    """Evaluates the newest checkpoint, or each new one as it comes, and then the best.

    Returns the exit code, 0.
    """
    folder, metric = os.path.join(model_dir, "checkpoints"), assembly.config.trainer.checkpoint
    log = MetricsLog(model_dir, enabled=True, file_name="eval/metrics.jsonl")
    context = evaluation_context(assembly, model_dir, log.writer("eval"))
    progress = ProgressBar(assembly.config.trainer.train_steps, "steps")
    names = [name for name, one in evaluators.items() if not one.config.of_best]
    if once:
        steps = iter([int(runs.find_checkpoint(model_dir, "latest").rsplit("-", 1)[1])])
    else:
        steps = _new_steps(folder, assembly.config, done=log.steps())
    while True:
        with stop.interrupting():
            step = next(steps, None)
            if step is None:
                break
            try:
                path = checkpoints.path_of(folder, step)
                runs.restore_weights(assembly.task, assembly.model, assembly.config, path)
            except UserError as error:
                if once:
                    raise
                progress.say(f"left out step {step}: {error}")
                continue
            context = dataclasses.replace(context, step=step)
            scores = evaluate(assembly.model, evaluators, names, context)
        log.write("eval", step, scores)
        watched_score(metric.best_metric, scores)
        checkpoints.copy_if_best(model_dir, step, scores, metric)
        progress.table(f"evaluation at step {step}", scores)
    _evaluate_best(assembly, evaluators, model_dir, stop, log)
    return 0


def evaluate_best(
    assembly: Assembly, evaluators: Mapping[str, Evaluator], model_dir: str, stop: StopSignal
) -> None:
    """After training: the checkpoint in `best/` by the evaluators that are `of_best`, unless its
    scores are logged already. The model has its weights afterwards.

    Raises StopRequested when any worker is asked to stop meanwhile.
    """
    log = MetricsLog(model_dir, enabled=distribution.is_chief(assembly.strategy))
    _evaluate_best(assembly, evaluators, model_dir, stop, log)


def _evaluate_best(
    assembly: Assembly,
    evaluators: Mapping[str, Evaluator],
    model_dir: str,
    stop: StopSignal,
    log: MetricsLog,
) -> None:
    """Closes `log`."""
    chosen = {name: one for name, one in evaluators.items() if one.config.of_best}
    if chosen:
        # Only after all have come here is written what the chief writes and others read.
        stop.check_all()
        step = checkpoints.read_best(os.path.join(model_dir, "best")).get("step")
        logged = {name.split("/")[1] for name in log.scores("eval", -1 if step is None else step)}
        due = {name: one for name, one in chosen.items() if name not in logged}
        is_chief = distribution.is_chief(assembly.strategy)
        progress = ProgressBar(assembly.config.trainer.train_steps, "steps", enabled=is_chief)
        if step is None:
            progress.say(f"{', '.join(chosen)} did not run: no checkpoint is the best one yet")
        elif due:
            scores = _scores_of_best(assembly, due, model_dir, step, stop, log)
            log.write("eval", step, scores)
            progress.table(f"the best checkpoint, step {step}", scores)
    log.close()


def _scores_of_best(
    assembly: Assembly,
    evaluators: Mapping[str, Evaluator],
    model_dir: str,
    step: int,
    stop: StopSignal,
    log: MetricsLog,
) -> dict[str, float]:
    shown = model_dir if distribution.is_chief(assembly.strategy) else ""
    context = evaluation_context(assembly, shown, log.writer("eval"))
    try:
        with stop.interrupting():
            path = checkpoints.path_of(os.path.join(model_dir, "best"), step)
            runs.restore_weights(assembly.task, assembly.model, assembly.config, path)
            context = dataclasses.replace(context, step=step)
            return evaluate(assembly.model, evaluators, list(evaluators), context)
    finally:
        stop.check_all()


def _new_steps(folder: str, config: ExperimentConfig, *, done: set[int]) -> Iterator[int]:
    """Steps of checkpoints as they appear, each once, until the last step or a long silence."""
    evaluation = config.trainer.evaluation
    last_seen = time.monotonic()
    while True:
        fresh = [step for step in checkpoints.list_steps(folder) if step not in done]
        for step in fresh:
            done.add(step)
            # Training may have dropped an old one meanwhile.
            if tf.io.gfile.exists(f"{checkpoints.path_of(folder, step)}.index"):
                yield step
            last_seen = time.monotonic()
        if done and max(done) >= config.trainer.train_steps:
            return
        if time.monotonic() - last_seen >= evaluation.timeout_seconds:
            return
        if not fresh:
            time.sleep(evaluation.poll_seconds)
