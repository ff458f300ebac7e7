"""The modes of `mmstack train`: train, eval, train_and_eval, continuous_eval, and the dry run."""

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.progress import ProgressBar
from trainers import initialization, runs
from trainers.config.checks import check_config, check_reachable
from trainers.config.schema import ExperimentConfig
from trainers.evaluation import first_batches as evaluation_inputs
from trainers.evaluation.base import Evaluator
from trainers.evaluation.build import build_evaluators
from trainers.loop import checkpoints, dry_run, run_folder
from trainers.loop.assembly import Assembly, assemble, check_host_memory, prepare
from trainers.loop.declared_inputs import DeclaredInputs, absent_files, without_absent
from trainers.loop.evaluation import check_best_metric, evaluate, evaluation_context
from trainers.loop.inputs import Inputs, RecordInputs, check_first_batches
from trainers.loop.monitoring.metrics_log import MetricsLog
from trainers.loop.training import Training

MODES = ("train", "eval", "train_and_eval", "continuous_eval")


def run_experiment(
    config: ExperimentConfig,
    *,
    mode: str,
    model_dir: str,
    dry: bool = False,
    inputs: Inputs | None = None,
) -> int:
    """Runs `config` in `model_dir` and returns the process's exit code.

    Args:
        mode: one of MODES.
        dry: only build, trace and report; writes nothing.
        inputs: where batches come from; records by default.

    Raises:
        UserError: for anything the user can put right.
    """
    inputs = inputs or RecordInputs()
    check_config(config)
    check_reachable(config, evaluates=mode != "train")
    notes: list[str] = []
    if dry:
        inputs = DeclaredInputs(inputs)
        config, notes = without_absent(config)
    else:
        run_folder.check_place(model_dir)
        run_folder.check_travelling_files(config)
    trains = mode in ("train", "train_and_eval")
    from_source = trains and initialization.is_due(config, model_dir)
    if from_source:
        initialization.check_sources(config.initialize)
    strategy, task = prepare(config, inputs)
    if not dry:
        check_host_memory(config, strategy)
    # What the task found in its data, such as class names, stays with the run.
    config = dataclasses.replace(config, task=task.config)
    evaluators = {} if mode == "train" else build_evaluators(config.evaluators, task)
    if mode != "train" and not notes:
        check_best_metric(config, evaluators)
    if mode in ("eval", "continuous_eval") and not evaluators and not notes:
        raise UserError(f"--mode={mode} needs evaluators; add one under `evaluators:`")
    looked_at = evaluation_inputs.check_inputs(evaluators)
    if trains:
        looked_at |= check_first_batches(inputs, task, config.streams, config.trainer.seed)
    is_new = trains and initialization.is_new(model_dir)
    is_new = is_new and not (dry and absent_files({"task": config.task, "streams": config.streams}))
    assembly = assemble(config, inputs, strategy, task, from_source=from_source, is_new=is_new)
    for evaluator in evaluators.values():
        evaluator.check_model(assembly.model)
    if dry:
        print(dry_run.report(assembly, evaluators, looked_at, notes))
        return 0
    if mode == "eval":
        runs.find_checkpoint(model_dir, "latest")
    # Only now, so that what is refused leaves no folder behind.
    run_folder.make(model_dir)
    if trains:
        return Training(assembly, evaluators, model_dir=model_dir).run()
    return _evaluate(assembly, evaluators, model_dir, once=mode == "eval")


def _evaluate(
    assembly: Assembly, evaluators: Mapping[str, Evaluator], model_dir: str, *, once: bool
) -> int:
    """Evaluates the newest checkpoint, or each new one as it comes."""
    folder = os.path.join(model_dir, "checkpoints")
    log = MetricsLog(model_dir, enabled=True, file_name="eval/metrics.jsonl")
    context = evaluation_context(assembly, model_dir, log.writer("eval"))
    progress = ProgressBar(assembly.config.trainer.train_steps, "steps")
    if once:
        steps = iter([int(runs.find_checkpoint(model_dir, "latest").rsplit("-", 1)[1])])
    else:
        steps = _new_steps(folder, assembly.config, done=log.steps())
    for step in steps:
        try:
            path = checkpoints.path_of(folder, step)
            runs.restore_weights(assembly.task, assembly.model, assembly.config, path)
        except UserError as error:
            if once:
                raise
            progress.say(f"left out step {step}: {error}")
            continue
        context = dataclasses.replace(context, step=step)
        scores = evaluate(assembly.model, evaluators, list(evaluators), context)
        log.write("eval", step, scores)
        checkpoints.copy_if_best(model_dir, step, scores, assembly.config.trainer.checkpoint)
        progress.table(f"evaluation at step {step}", scores)
    log.close()
    return 0


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
