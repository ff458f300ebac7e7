"""How a pipeline is run: Beam's options, and the choices made when the user makes none.

On one machine pipelines run on the engine behind Beam's DirectRunner, chosen by name: the
DirectRunner itself would first try Prism, which downloads a binary. Its workers are separate
processes, because Python threads cannot decode in parallel.
"""

import difflib
import logging
import os
import shlex
import sys

from beam_pipelines.pipelines.beam_options import runner_name
from beam_pipelines.pipelines.job_errors import job_errors
from mm_models.errors import UserError

_IMPORT_MESSAGES = ("Failed to import GCSFileSystem", "apitools not found")
_FORBIDDEN_RUNNERS = {
    "daskrunner": "it silently writes nothing",
    "prismrunner": "it downloads a binary at run time",
}
_LOCAL_RUNNERS = (
    *("", "directrunner", "fnapirunner"),
    *("bundlebaseddirectrunner", "switchingdirectrunner"),
)
_ITEMS_WORTH_PROCESSES = 64
_WORKER_MODULE = "beam_pipelines.pipelines.worker_process"


class _DropMessages(logging.Filter):
    """Drops log lines that start in one of the given ways."""

    def __init__(self, starts: tuple[str, ...]):
        super().__init__()
        self._starts = starts

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self._starts)


_RUNNING_MODE_FILTER = _DropMessages(("If direct_num_workers is not equal to 1",))


def import_beam():
    """Imports and returns `apache_beam` without its two lines about absent cloud packages."""
    silencer = _DropMessages(_IMPORT_MESSAGES)
    handler = logging.StreamHandler()
    handler.addFilter(silencer)
    root = logging.getLogger()
    had_handlers = bool(root.handlers)
    if not had_handlers:
        root.addHandler(handler)
    root.addFilter(silencer)
    try:
        import apache_beam
        import apache_beam.io.filesystems  # The modules that print the two lines.
    finally:
        root.removeFilter(silencer)
        if not had_handlers:
            root.removeHandler(handler)
    return apache_beam


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def parse_workers(text: str) -> int:
    """Reads `auto` (one worker per core) or a positive number. Raises UserError."""
    if text == "auto":
        return core_count()
    if not text.isdigit() or not int(text):
        raise UserError(f"--workers {text}: expected auto or a positive number")
    return int(text)


def is_local(words: list[str]) -> bool:
    """Whether the options for Beam leave the pipeline on this machine."""
    return runner_name(words) in _LOCAL_RUNNERS


def check_runner(words: list[str]) -> None:
    """Raises UserError for a runner that there is not, that cannot work, or that lacks options."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.runner import create_runner

    name = runner_name(words)
    if is_local(words):
        return
    if name in _FORBIDDEN_RUNNERS:
        raise UserError(
            f"--runner {name}: {_FORBIDDEN_RUNNERS[name]}; leave --runner out or name another"
        )
    options = PipelineOptions(words)
    given = options.view_as(StandardOptions).runner
    known = {each.lower(): each for each in StandardOptions.KNOWN_RUNNER_NAMES}
    if "." not in given and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {known[near[0]]}?" if near else f"known are {', '.join(known.values())}"
        )
        raise UserError(f"--runner {given}: there is no such runner; {hint}")
    with job_errors():
        wrong = PipelineOptionsValidator(options, create_runner(given)).validate()
    if wrong:
        raise UserError(f"--runner {given}: {' '.join(' '.join(wrong).split())}")


def check_reachable(what: str, path: str, words: list[str], is_shared: bool) -> None:
    """Raises UserError for a path of this machine in a job that runs on others.

    Args:
        what: names the path.
        path: local path or URL.
        words: options for Beam.
        is_shared: whether the workers see this machine's paths.
    """
    from beam_pipelines import files

    if not (is_local(words) or is_shared or files.is_remote(path)):
        raise UserError(
            f"{what} {path} is a path of this machine, and the workers of {runner_name(words)} run "
            "on others; give a URL, or add --shared_filesystem if all of them see that path"
        )


def make_pipeline(words: list[str], *, workers: int, num_items: int):
    """A Beam pipeline for a job.

    Args:
        words: the user's options for Beam.
        workers: worker processes on this machine.
        num_items: size of the job; small ones run in this process, which starts at once.

    Raises:
        UserError: for a runner that is unknown, known not to work, or not content with its options.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    if not is_local(words):
        with job_errors():
            return beam.Pipeline(options=PipelineOptions(words))
    use_processes = workers > 1 and num_items >= _ITEMS_WORTH_PROCESSES
    arguments = [f"--direct_num_workers={workers if use_processes else 1}"]
    options = PipelineOptions([*arguments, *_without_runner(words)])
    return beam.Pipeline(runner=_local_runner(use_processes), options=options)


def _local_runner(use_processes: bool):
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import (
        EmbeddedPythonEnvironment,
        SubprocessSDKEnvironment,
    )

    if not use_processes:
        return FnApiRunner(default_environment=EmbeddedPythonEnvironment.default())
    command = f"{shlex.quote(sys.executable)} -m {_WORKER_MODULE}"
    # The engine cannot see that this environment means several processes.
    logging.getLogger(FnApiRunner.__module__).addFilter(_RUNNING_MODE_FILTER)
    environment = SubprocessSDKEnvironment.from_command_string(command_string=command)
    return FnApiRunner(default_environment=environment)


def _without_runner(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith("--runner"):
            kept.append(word)
        skip = word == "--runner"
    return kept
