"""A training run from its folder's state to its last checkpoint."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import orbit
import orbit.controller
import tensorflow as tf

from mm_models.progress import ProgressBar
from trainers import distribution
from trainers.atomic_files import write_text
from trainers.config.loading import to_yaml
from trainers.config.schema import ExperimentConfig
from trainers.evaluation.base import Evaluator
from trainers.evaluation.pictures import panels
from trainers.initialization import REPORT_FILE, to_json
from trainers.loop import checkpoints, divergence
from trainers.loop.alternation import stream_plan
from trainers.loop.alternation.streams import open_streams
from trainers.loop.assembly import Assembly
from trainers.loop.checkpoints import Checkpoints, build_checkpoint
from trainers.loop.evaluation import Evaluation
from trainers.loop.identity import flatten, identity_of
from trainers.loop.monitoring import loss_watch
from trainers.loop.monitoring.metrics_log import MetricsLog
from trainers.loop.monitoring.norms import ParameterNorms
from trainers.loop.monitoring.profiler import ProfilerWindow
from trainers.loop.preemption import (
    DIVERGED_EXIT_CODE,
    PREEMPTED_EXIT_CODE,
    StopRequested,
    StopSignal,
)
from trainers.loop.resuming.lease import Lease
from trainers.loop.run_folder import write_config
from trainers.loop.state import RunState
from trainers.loop.steps import costs
from trainers.loop.steps.warm_up import warm_up
from trainers.loop.trainer import Trainer


class Training:
    """Restores, trains with Orbit's Controller, logs, evaluates and saves."""

    def __init__(
        self,
        assembly: Assembly,
        evaluators: Mapping[str, Evaluator],
        *,
        model_dir: str,
        stop: StopSignal | None = None,
        lease: Lease | None = None,
        from_step: int | None = None,
    ):
        """Restores the newest good checkpoint of `model_dir`; writes nothing but what it cleans.

        Args:
            assembly, evaluators: what is trained and measured.
            model_dir: run folder.
            stop: requests to stop, listened to; None: there are none.
            lease: on the run folder, looked at before it is written into; None: nobody else is.
            from_step: the checkpoint to go back to; None takes the newest.
        """
        config = assembly.config
        self._stop, self._lease = stop or StopSignal(), lease
        self._assembly, self._config, self._model_dir = assembly, config, model_dir
        self._chief = distribution.is_chief(assembly.strategy)
        # Off a terminal there is a line per log.
        self._progress = ProgressBar(
            config.trainer.train_steps, "steps", enabled=self._chief, line_seconds=math.inf
        )
        identity = identity_of(config, assembly.inputs.contents)
        self._state = RunState(identity, to_yaml(config), config.trainer.seed, from_step)
        checkpoint = build_checkpoint(
            assembly.model, assembly.optimizers, assembly.averages, assembly.step, self._state
        )
        self._checkpoints = Checkpoints(
            model_dir, checkpoint, config.trainer.checkpoint, assembly.strategy, self._progress.say
        )
        restored = self._checkpoints.restore(self._state, type(config.task))
        for line in () if restored else (*assembly.initialized.values(), *assembly.notes):
            self._progress.say(str(line))
        self._first_step = self._saved_step = self.step
        self._watch = loss_watch.restored(self._state.watch)
        self._log = MetricsLog(model_dir, enabled=self._chief)
        self._log.resume(self.step)
        self._evaluation = Evaluation(
            assembly, evaluators, model_dir, self._state, self._checkpoints, self._log, self._stop
        )
        self._profiler = ProfilerWindow(config.trainer.summaries, model_dir, enabled=self._chief)
        self._parameter_norms = ParameterNorms(assembly.model)

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._assembly.step.numpy())

    def run(self) -> int:
        """Trains to the end and returns the exit code: 0, or one of trainers/loop/preemption.py."""
        try:
            if not self._is_over():
                with self._stop.interrupting():
                    controller = self.open()
                self._train(controller)
        except StopRequested:
            return self._leave()
        except divergence.Diverged as error:
            self._progress.say(self._describe(error))
            return DIVERGED_EXIT_CODE
        finally:
            self._progress.close()
            self._profiler.close()
            self._log.close()
        return 0

    def _is_over(self) -> bool:
        """Whether there is nothing left to train, after an evaluation that was cut is done."""
        is_final = self.step >= self._config.trainer.train_steps
        scores = self._evaluation.catch_up(self.step, final=is_final)
        if scores:
            self._progress.table(f"evaluation at step {self.step}", scores)
        if is_final:
            self._progress.say(
                f"{self._model_dir} is already at step {self.step}: nothing to train"
            )
        elif self._evaluation.should_stop():
            self._progress.say(f"{self._model_dir} was stopped early: nothing to train")
        return is_final or self._evaluation.should_stop()

    def _leave(self) -> int:
        """Saves what was done since the start, and says so; returns the exit code."""
        if self.step == self._first_step:
            said = f"at step {self.step}, before another one was done"
        else:
            self._save()
            said = f"saved step {self.step}"
        self._progress.say(f"asked to stop: {said}; the same command resumes")
        return PREEMPTED_EXIT_CODE

    def open(self) -> orbit.Controller:
        """Writes the resolved config, opens the data and returns the loop that `run` drives."""
        if self._chief:
            write_config(self._config, self._model_dir)
            if self._assembly.initialized:
                path = f"{self._model_dir}/{REPORT_FILE}"
                write_text(path, to_json(self._assembly.initialized))
        self._log.hyper_parameters(flatten(_shown(self._config)))
        self._trainer = self._build_trainer()
        # Orbit prints every inner loop to standard output, which would tear the line of progress.
        orbit.controller._log = lambda message: None
        return orbit.Controller(
            global_step=self._assembly.step,
            trainer=self._trainer,
            strategy=self._assembly.strategy,
            steps_per_loop=self._steps_to_boundary,
            train_actions=[self._act],
        )

    def _build_trainer(self) -> Trainer:
        assembly = self._assembly
        self._streams = open_streams(assembly, self._state, self.step)
        self._progress.say(stream_plan.table(self._streams.plans))
        trainer = Trainer(
            self._streams,
            self._config.trainer,
            stop=self._stop,
            progress=self._progress,
            watch=self._watch,
            start_step=self.step,
        )
        trainer.meter.state = self._state.meter
        runtime = self._config.runtime
        peak = runtime.peak_flops_per_second or costs.measure_peak_flops_per_second(
            half_precision=runtime.mixed_precision
        )
        # Virtual devices share one machine's peak.
        num_devices = assembly.num_replicas * runtime.model_parallel
        self._peak = peak if runtime.num_virtual_devices else peak * num_devices
        return trainer

    def _steps_to_boundary(self, step: int) -> int:
        """Steps until somebody wants a look: the NaN guard, the log, pictures or the profiler."""
        summaries = self._config.trainer.summaries
        intervals = [self._config.trainer.steps_per_loop, summaries.log_interval_steps]
        intervals += [summaries.panel_interval_steps, self._streams.order.refresh_steps]
        distances = [interval - int(step) % interval for interval in intervals if interval]
        distances += [edge - int(step) for edge in self._profiler.edges(step)]
        return min(distances)

    def _train(self, controller: orbit.Controller) -> None:
        """To the next evaluation or checkpoint, again and again."""
        total = self._config.trainer.train_steps
        intervals = [self._config.trainer.checkpoint.interval_steps, *self._evaluation.intervals()]
        if self._config.trainer.alternation.warm_up:
            interrupting = self._stop.interrupting
            warm_up(
                self._streams, self._assembly, say=self._progress.say, interrupting=interrupting
            )
        self._progress.start(self.step)
        self._trainer.throughput.reset()
        self._profiler.act(self.step)
        while self.step < total:
            step = self.step
            target = min(total, *(step + interval - step % interval for interval in intervals))
            controller.train(steps=target, checkpoint_at_completion=False)
            with self._trainer.throughput.pause():
                # First, so that no evaluation can cost the steps before it.
                if target == total or not target % intervals[0]:
                    self._save()
                self._evaluate(target, final=target == total)
                stopping = self._evaluation.should_stop()
            if stopping:
                self._save()
                self._progress.say(
                    f"stopped early at step {target}: no better "
                    f"{self._config.trainer.checkpoint.best_metric} since step "
                    f"{self._state.best['step']}"
                )
                return

    def _act(self, output: Any) -> None:
        """After each inner loop: scalars, pictures and the profiler's window, where due."""
        step, summaries = self.step, self._config.trainer.summaries
        self._profiler.act(step)
        if step % summaries.log_interval_steps == 0 or step == self._config.trainer.train_steps:
            self._log_scalars(step)
        if summaries.panel_interval_steps and step % summaries.panel_interval_steps == 0:
            with self._trainer.throughput.pause():
                self._show_panels(step)

    def _log_scalars(self, step: int) -> None:
        scalars = self._trainer.meter.means()
        scalars.update(self._trainer.throughput.rates(self._peak))
        for name, optimizer in self._assembly.optimizers.items():
            scalars[f"train/learning_rate/{name}"] = float(optimizer.learning_rate(step - 1))
        if self._config.trainer.summaries.parameter_norms:
            scalars.update(self._parameter_norms())
        self._log.write("train", step, scalars)
        self._progress.show(step, f"loss {scalars.get('train/loss', math.nan):.4f}")
        self._trainer.meter.reset()
        self._trainer.throughput.reset()

    def _show_panels(self, step: int) -> None:
        if not self._chief:
            return
        for stream, batch in self._trainer.last_batches.items():
            local = {
                name: self._assembly.strategy.experimental_local_results(value)[0]
                for name, value in batch.items()
            }
            shown = self._assembly.task.summaries(self._assembly.model, local, stream=stream)
            panels.write_panels(shown, self._log.writer("train"), step=step, prefix=f"{stream}/")
        self._log.flush("train")

    def _evaluate(self, step: int, *, final: bool) -> None:
        names = self._evaluation.due(step, final=final)
        if not names:
            return
        self._state_now()
        try:
            scores = self._evaluation.run(step, names)
        except Exception:
            self._save()
            self._progress.say(f"the evaluation at step {step} failed; the step is saved")
            raise
        self._progress.table(f"evaluation at step {step}", scores)

    def _state_now(self) -> None:
        self._state.watch = self._watch.state
        self._state.positions = self._streams.order.counts(self.step)
        self._state.order = self._streams.order.state
        self._state.meter = self._trainer.meter.state

    def _describe(self, error: divergence.Diverged) -> str:
        if not self._chief:
            return str(error)
        stream = self._config.streams[error.stream]
        what = divergence.report(error, stream, self._assembly.inputs, self._model_dir)
        steps, sound = checkpoints.list_steps(self._checkpoints.folder), self._watch.sound_step
        return f"{what}; {divergence.way_out(self._config, self._model_dir, steps, sound)}"

    def _save(self) -> None:
        """Writes a checkpoint of this step where there is none yet.

        Raises:
            Diverged: a weight is no number, which a checkpoint would hand on.
            UserError: another trainer has taken over the folder, or it cannot be written.
        """
        if self._saved_step == self.step:
            return
        if not self._weights_are_finite():
            stream = next(iter(self._streams.order.names))
            what = "left weights that are no numbers, after losses and gradients that were"
            raise divergence.Diverged(self.step, stream, what, self._trainer.loss)
        if self._lease is not None:
            self._lease.check()
        self._watch.saved(self.step)
        self._state_now()
        self._checkpoints.save(self.step, self._watch.sound_step)
        self._saved_step = self.step

    def _weights_are_finite(self) -> bool:
        values = [
            tf.reduce_all(tf.math.is_finite(variable.value.read_value()))
            for variable in self._assembly.model.trainable_variables
        ]
        return bool(tf.reduce_all(values))


def _shown(config: ExperimentConfig) -> dict[str, Any]:
    shown = dataclasses.asdict(config)
    return {key: shown[key] for key in ("task", "streams", "trainer", "runtime")}
