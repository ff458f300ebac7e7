"""Runs of a study as processes, a few at a time, until all have ended."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from trainers.study.plan import CONFIG, METRICS, PlannedRun, write_bytes, write_result

TRAIN_COMMAND = (sys.executable, "-m", "mmstack", "train")
LOG = "study.log"
LOCK = ".study-lock"
STOPPED_EXIT_CODE = 42
_POLL_SECONDS = 0.2
_LOG_LINES = 8


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that has not finished, with its resolved experiment.

    Attributes:
        run: which one.
        config: YAML of the whole experiment.
        train_steps: steps it takes in all.
    """

    run: PlannedRun
    config: str
    train_steps: int


@dataclasses.dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    started: float
    asked_to_stop: bool = False


class Scheduler:
    """Starts jobs in order, at most `parallel` at a time, and remembers how each ended.

    A job's folder is locked by the process that trains in it, and stays so when this one is killed,
    so that no two processes ever train in one folder.

    Attributes:
        failed: names of runs that ended with an error.
        skipped: names of runs that another process is training.
    """

    def __init__(
        self,
        *,
        parallel: int,
        threads: int,
        say: Callable[[str], None],
        command: Sequence[str] = TRAIN_COMMAND,
        report_seconds: float = 30.0,
    ):
        """Starts nothing.

        Args:
            parallel: processes at a time.
            threads: of each process; 0 lets TensorFlow choose.
            say: takes lines of progress.
            command: what trains, before `--config_file` and `--model_dir`.
            report_seconds: pause between lines of progress.
        """
        self._parallel, self._threads, self._say = parallel, threads, say
        self._command, self._report_seconds = tuple(command), report_seconds
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self._stopping = False
        self._running: list[_Running] = []

    def run(self, jobs: Sequence[Job]) -> bool:
        """Runs every job; true unless it was asked to stop (SIGTERM, Ctrl-C) before the end."""
        waiting, self._clock = list(jobs), _Clock(jobs)
        reported = time.monotonic()
        with self._listening():
            while (waiting and not self._stopping) or self._running:
                while waiting and len(self._running) < self._parallel and not self._stopping:
                    self._start(waiting.pop(0))
                time.sleep(_POLL_SECONDS)
                if self._stopping:
                    self._ask_to_stop()
                for one in [one for one in self._running if one.process.poll() is not None]:
                    self._end(one)
                if self._running and time.monotonic() - reported >= self._report_seconds:
                    reported = time.monotonic()
                    self._say(self._clock.describe(len(self._running)))
        return not self._stopping

    def _start(self, job: Job) -> None:
        folder = job.run.folder
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock, (folder / LOG).open("ab") as log:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"{job.run.name}: another process is training it; left alone")
                self.skipped.append(job.run.name)
                self._clock.drop(job)
                return
            write_bytes(folder / CONFIG, job.config.encode())
            arguments = [f"--config_file={folder / CONFIG}", f"--model_dir={folder}"]
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self._threads),
                pass_fds=[lock.fileno()],
                # Ctrl-C must reach it once, from here.
                start_new_session=True,
            )
        self._running.append(_Running(job, process, time.monotonic()))
        self._say(f"{job.run.name}: started")

    def _end(self, one: _Running) -> None:
        self._running.remove(one)
        run, code = one.job.run, one.process.returncode
        seconds = time.monotonic() - one.started
        write_result(run, code, seconds)
        if code == 0:
            self._clock.finish(one.job)
            self._say(f"{run.name}: finished in {seconds:.0f} s; {self._clock.describe()}")
        elif code == STOPPED_EXIT_CODE or (self._stopping and code < 0):
            self._say(f"{run.name}: stopped; the same command goes on from its checkpoint")
        else:
            self.failed.append(run.name)
            self._clock.drop(one.job)
            tail = "\n".join(f"    {line}" for line in _last_lines(run.folder / LOG))
            self._say(f"{run.name}: FAILED with exit code {code}; {run.folder / LOG} ends:\n{tail}")

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C are passed on, and the runs get the time to save."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in before:
                signal.signal(number, self._stop)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        # Not more than this: a process may be just being started.
        self._stopping = True

    def _ask_to_stop(self) -> None:
        for one in self._running:
            if not one.asked_to_stop:
                one.asked_to_stop = True
                one.process.send_signal(signal.SIGTERM)


class _Clock:
    """Steps done by all jobs of this call, their rate and the time that is left."""

    def __init__(self, jobs: Sequence[Job]):
        self._left = {job.run.name: job for job in jobs}
        self._at_start = {job.run.name: last_step(job.run.folder) for job in jobs}
        self._finished_steps, self._finished, self._total = 0, 0, len(jobs)
        self._started = time.monotonic()

    def finish(self, job: Job) -> None:
        """Counts a job as done."""
        self._finished += 1
        self._finished_steps += job.train_steps - self._at_start[job.run.name]
        self.drop(job)

    def drop(self, job: Job) -> None:
        """Waits for this job no longer."""
        self._left.pop(job.run.name, None)

    def describe(self, running: int = 0) -> str:
        """Runs done, rate and time left."""
        done, left = self._finished_steps, 0
        for name, job in self._left.items():
            step = last_step(job.run.folder)
            done += step - self._at_start[name]
            left += job.train_steps - step
        rate = done / max(time.monotonic() - self._started, 1e-9)
        minutes = f"{left / rate / 60:.0f} min left" if rate > 0 else "time left unknown"
        busy = f", {running} running" if running else ""
        return f"{self._finished}/{self._total} runs{busy}, {rate:.1f} steps/s, {minutes}"


def last_step(folder: pathlib.Path) -> int:
    """Step of the last line that a run has logged; 0 before the first."""
    lines = _last_lines(folder / METRICS, 1)
    try:
        return int(json.loads(lines[-1])["step"])
    except (IndexError, ValueError, KeyError):
        # No line yet, or one that is being written.
        return 0


def _last_lines(path: pathlib.Path, count: int = _LOG_LINES) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]


def _environment(threads: int) -> dict[str, str]:
    """The environment with so many threads per process."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {**os.environ, **(dict.fromkeys(names, str(threads)) if threads else {})}
