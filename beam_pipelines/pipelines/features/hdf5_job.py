"""HDF5 files of stored features → folder of records with features."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from beam_pipelines.pipelines.features.features_job import Hdf5Job
from beam_pipelines.pipelines.features.hdf5_files import (
    SegmentGroup,
    find_files,
    opened,
    segment_groups,
)
from beam_pipelines.pipelines.features.hdf5_processor import Hdf5Processor, read_steps
from beam_pipelines.pipelines.features.job import clip_features
from beam_pipelines.pipelines.folder_description import Described, finish
from beam_pipelines.pipelines.job import check_job, record_work, run_watched_job
from beam_pipelines.pipelines.runner import check_reachable, make_pipeline
from beam_pipelines.pipelines.transforms import ShardCount, WriteRecords
from beam_pipelines.rejects import Reject
from mm_models.errors import UserError


def run(job: Hdf5Job) -> dict[str, Any]:
    """Runs the job and returns the content of `dataset_info.json`.

    Raises:
        UserError: for files or an output that cannot work, before any other work; when the job ends
            badly; and when no segment has features, or more are rejected than the job allows.
    """
    words = list(job.passthrough)
    check_job(job)
    groups = _groups(job)
    dim = _first_dim(job.folders, groups)
    num_items = sum(len(group.segments) for group in groups)
    pipeline = make_pipeline(words, workers=job.workers, num_items=num_items)
    open_processor = functools.partial(Hdf5Processor, job.grid, job.encoder, dim)
    with record_work(job) as place:
        (
            pipeline
            | "Groups" >> beam.Create(groups)
            | "SpreadGroups" >> beam.Reshuffle()
            | "Write" >> WriteRecords(open_processor, place, ShardCount())
        )
        # How large the features of a segment are is known when they have been read.
        run_watched_job(pipeline, num_items, 0, place.progress)
        return finish(job, _described(job, num_items, dim), place)


def _groups(job: Hdf5Job) -> list[SegmentGroup]:
    """Every segment of every split. Raises UserError."""
    groups: list[SegmentGroup] = []
    for split, folder in job.folders.items():
        known: set[str] = set()
        check_reachable("--from_hdf5", folder, list(job.passthrough), job.shared_filesystem)
        for path in find_files(folder):
            groups += segment_groups(split, path, known)
    return groups


def _first_dim(folders: Mapping[str, str], groups: Sequence[SegmentGroup]) -> int:
    """Numbers of a region, of the first segment that can be read. Raises UserError."""
    fault = ""
    for group in groups:
        with opened(group.path) as file:
            for segment in group.segments:
                steps = read_steps(file, segment)
                if not isinstance(steps, Reject):
                    return steps.shape[3]
                fault = fault or f"{segment.id} of {group.path}: {steps.detail}"
    named = ", ".join(folders.values())
    raise UserError(f"--from_hdf5 {named}: no segment has features that can be read ({fault})")


def _described(job: Hdf5Job, num_items: int, dim: int) -> Described:
    return Described(
        source=f"--from_hdf5 {', '.join(job.folders.values())}",
        remedy="look at the files with h5ls",
        num_items=num_items,
        about={
            "labels": [],
            "media": {"frame_rate_hz": None, "short_side": None, "sample_rate_hz": None},
            "clip_features": clip_features(job.grid, dim, job.encoder),
            "config": {"features": dataclasses.asdict(job.grid)},
            "manifest_sha256": "",
        },
    )
