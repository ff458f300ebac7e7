"""Runs a pipeline to its end on any runner, and shows how far it is."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineState

from beam_pipelines import files
from beam_pipelines.pipelines import worker_progress
from beam_pipelines.pipelines.job_config import RecordJob
from beam_pipelines.pipelines.job_errors import disk_errors, job_errors
from beam_pipelines.pipelines.runner import check_reachable, check_runner, is_local
from beam_pipelines.pipelines.transforms import WorkPlace
from beam_pipelines.publishing.outputs import appearing_folder, check_output
from beam_pipelines.record import contract
from mm_models.errors import UserError
from mm_models.progress import ProgressBar

_FILE_POLL_SECONDS = 0.5
_JOB_POLL_SECONDS = 10.0


def check_job(job: RecordJob) -> None:
    """Raises UserError for a runner that cannot work, or an output that cannot be written."""
    words = list(job.passthrough)
    check_runner(words)
    check_output(job.output, overwrite=job.overwrite)
    check_reachable("--output", job.output, words, job.shared_filesystem)


@contextlib.contextmanager
def record_work(job: RecordJob) -> Iterator[WorkPlace]:
    """Folders in which a job makes its record folder, which takes its name when the block ends.

    Raises:
        UserError: of disks and stores, and as `appearing_folder` does.
    """
    output = appearing_folder(job.output, contract.DATASET_INFO, overwrite=job.overwrite)
    progress = worker_progress.progress_folder(is_local(list(job.passthrough)))
    with disk_errors(), output as folder, progress as progress_folder:
        work = files.join(folder, "_work")
        for name in ("staged", "shards", "statistics", "rejects"):
            files.make_folder(files.join(work, name))
        yield WorkPlace(folder, work, progress_folder)
        files.delete_tree(work)


def run_job(pipeline: beam.Pipeline) -> None:
    """Runs a job and looks at the state it ends in, before anybody looks at its results.

    Raises:
        UserError: whatever the runner raises, and every end but a good one.
    """
    with job_errors():
        _finish(pipeline.run())


def run_watched_job(
    pipeline: beam.Pipeline, num_items: int, total_bytes: int, progress_folder: str
) -> None:
    """`run_job` that shows the items done.

    Args:
        pipeline: its workers report by `WorkerProgress`.
        num_items, total_bytes: of the whole job; no bytes where they are unknown.
        progress_folder: where workers of this machine write; empty for workers elsewhere, whose
            counters the runner is asked for.
    """
    progress = ProgressBar(num_items, "items")
    with job_errors():
        if progress_folder:
            counts = functools.partial(worker_progress.counts_of_files, progress_folder)
            with worker_progress.watched(counts, total_bytes, progress, _FILE_POLL_SECONDS):
                _finish(pipeline.run())
            return
        result = pipeline.run()
        counts = functools.partial(worker_progress.counts_of_job, result)
        with worker_progress.watched(counts, total_bytes, progress, _JOB_POLL_SECONDS):
            _finish(result)


def _finish(result: Any) -> None:
    try:
        state = result.wait_until_finish() or result.state
    except KeyboardInterrupt:
        # Its work folder goes with this process, so the job may not go on elsewhere.
        with contextlib.suppress(NotImplementedError):
            result.cancel()
        raise
    if state != PipelineState.DONE:
        raise UserError(
            f"the job ended in the state {state}, so nothing was written; its runner's log says "
            "why (for Dataflow, the job's page)"
        )
