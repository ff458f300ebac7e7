"""The modes of `mmstack train`: train, eval, train_and_eval, continuous_eval, and the dry run."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping

from mm_models.errors import UserError
from trainers import distribution, initialization, runs
from trainers.config.checks import check_config, check_reachable
from trainers.config.schema import ExperimentConfig
from trainers.data.reading.files import is_remote
from trainers.evaluation import first_batches as evaluation_inputs
from trainers.evaluation.base import Evaluator
from trainers.evaluation.build import build_evaluators
from trainers.loop import dry_run, preemption, run_folder
from trainers.loop.assembly import Assembly, assemble, check_host_memory, prepare
from trainers.loop.declared_inputs import DeclaredInputs, absent_files, without_absent
from trainers.loop.evaluate_checkpoints import evaluate_best, evaluate_checkpoints
from trainers.loop.evaluation import check_best_metric
from trainers.loop.inputs import Inputs, RecordInputs, check_first_batches
from trainers.loop.preemption import StopRequested, StopSignal
from trainers.loop.resuming.lease import Lease
from trainers.loop.training import Training
from trainers.tasks.base import Task

MODES = ("train", "eval", "train_and_eval", "continuous_eval")


def run_experiment(
    config: ExperimentConfig,
    *,
    mode: str,
    model_dir: str,
    dry: bool = False,
    from_step: int | None = None,
    inputs: Inputs | None = None,
    stop: StopSignal | None = None,
) -> int:
    """Runs `config` in `model_dir` and returns the process's exit code.

    Args:
        mode: one of MODES.
        dry: only build, trace and report; writes nothing.
        from_step: the checkpoint that training goes back to; None takes the newest.
        inputs: where batches come from; records by default.
        stop: requests to stop, where somebody listens already.

    Raises:
        UserError: for anything the user can put right.
    """
    stop = stop or StopSignal()
    with contextlib.ExitStack() as held, stop.listening():
        try:
            with stop.interrupting():
                run = _prepare(
                    config, mode, model_dir, dry, from_step, inputs or RecordInputs(), stop, held
                )
            return run()
        except StopRequested:
            return preemption.leave()


def _prepare(
    config: ExperimentConfig,
    mode: str,
    model_dir: str,
    dry: bool,
    from_step: int | None,
    inputs: Inputs,
    stop: StopSignal,
    held: contextlib.ExitStack,
) -> Callable[[], int]:
    """What `run_experiment` does, up to the first step; gives what does the rest.

    `held` takes what is to be given back at the end.
    """
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
    # A dry run needs no store to answer.
    resumed = "" if dry and is_remote(model_dir) else model_dir
    from_source = trains and initialization.is_due(config, resumed)
    if from_source:
        initialization.check_sources(config.initialize)
    strategy, task = prepare(config, inputs)
    if not dry:
        check_host_memory(config, strategy)
    stop.agree_by(distribution.agreement(strategy))
    lease = None
    if trains and not dry and distribution.is_chief(strategy):
        lease = Lease(model_dir, lambda line: print(line, file=sys.stderr))
    _on_all(stop, model_dir, lease.look if lease else None)
    # What the task found in its data, such as class names, stays with the run.
    config = dataclasses.replace(config, task=task.config)
    evaluators = _evaluators(config, mode, task, whole=not notes)
    looked_at = evaluation_inputs.check_inputs(evaluators)
    if trains:
        looked_at |= check_first_batches(inputs, task, config.streams, config.trainer.seed)
    is_new = trains and initialization.is_new(resumed)
    is_new = is_new and not (dry and absent_files({"task": config.task, "streams": config.streams}))
    assembly = assemble(config, inputs, strategy, task, from_source=from_source, is_new=is_new)
    for evaluator in evaluators.values():
        evaluator.check_model(assembly.model)
    if dry:
        return lambda: _show(dry_run.report(assembly, evaluators, looked_at, notes))
    if mode == "eval":
        runs.find_checkpoint(model_dir, "latest")
    # Only now, so that what is refused leaves no folder behind.
    run_folder.make(model_dir)
    if not trains:
        once = mode == "eval"
        return lambda: evaluate_checkpoints(assembly, evaluators, model_dir, stop, once=once)
    _on_all(stop, model_dir, functools.partial(_take, lease, held) if lease else None)
    training = Training(
        assembly, evaluators, model_dir=model_dir, stop=stop, lease=lease, from_step=from_step
    )
    return lambda: _train(training, assembly, evaluators, model_dir, stop)


def _train(
    training: Training,
    assembly: Assembly,
    evaluators: Mapping[str, Evaluator],
    model_dir: str,
    stop: StopSignal,
) -> int:
    """Trains, and where that came to its end, evaluates the best checkpoint."""
    code = training.run()
    if not code and evaluators:
        evaluate_best(assembly, evaluators, model_dir, stop)
    return code


def _evaluators(
    config: ExperimentConfig, mode: str, task: Task, *, whole: bool
) -> dict[str, Evaluator]:
    """Evaluators of a mode; what must be there is only checked where all data are (`whole`)."""
    if mode == "train":
        return {}
    evaluators = build_evaluators(config.evaluators, task)
    if whole:
        check_best_metric(config, evaluators)
        if mode in ("eval", "continuous_eval") and not evaluators:
            raise UserError(f"--mode={mode} needs evaluators; add one under `evaluators:`")
    return evaluators


def _show(report: str) -> int:
    print(report)
    return 0


def _take(lease: Lease, held: contextlib.ExitStack) -> None:
    held.callback(lease.give_back)
    lease.take()


def _on_all(stop: StopSignal, model_dir: str, of_chief: Callable[[], None] | None) -> None:
    """Does what the chief does, and where that raises UserError, raises one on every worker."""
    refusal = None
    try:
        if of_chief is not None:
            of_chief()
    except UserError as error:
        refusal = error
    if stop.any_worker(refusal is not None):
        raise refusal or UserError(f"the chief may not train in {model_dir}; its message says why")
