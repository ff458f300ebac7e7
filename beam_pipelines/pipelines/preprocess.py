"""Manifest of raw media → folder of records."""

import contextlib
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines import transforms
from beam_pipelines.pipelines.folder_description import finish
from beam_pipelines.pipelines.job_config import JobConfig
from beam_pipelines.pipelines.output_folder import appearing_folder, check_output
from beam_pipelines.pipelines.runner import is_local, make_pipeline
from beam_pipelines.pipelines.worker_progress import watched
from beam_pipelines.record import contract, statistics
from mm_models.errors import UserError
from mm_models.progress import ProgressBar

_DEAD_WORKER = "Channel closed prematurely"
_REJECT_PARTS = 16
_MAX_LINES_PER_BUNDLE_ELEMENT = 16
_ELEMENTS_PER_WORKER = 16


def run(config: JobConfig) -> dict[str, Any]:
    """Runs the job and returns the content of `dataset_info.json`.

    Raises:
        UserError: for a bad manifest or output, before any decoding; and when no item gives a
            record.
    """
    check_output(config.output, overwrite=config.overwrite)
    summary = manifest.scan(config.manifest_path, measure_media=True)
    passthrough = list(config.passthrough)
    pipeline = make_pipeline(passthrough, workers=config.workers, num_items=len(summary.offsets))
    with appearing_folder(
        config.output, overwrite=config.overwrite, last=contract.DATASET_INFO
    ) as folder:
        work = files.join(folder, "_work")
        for name in ("staged", "shards", "statistics", "rejects", "progress"):
            files.make_folder(files.join(work, name))
        visible = is_local(passthrough) and not files.is_remote(work)
        with _progress(summary, work) if visible else contextlib.nullcontext():
            _build(pipeline, config, summary, folder, work)
            _run_pipeline(pipeline, config.manifest_path, summary.sha256)
        info = finish(config, summary, folder, work)
        files.delete_tree(work)
    return info


def _progress(
    summary: manifest.ManifestSummary, work: str
) -> contextlib.AbstractContextManager[None]:
    progress = ProgressBar(len(summary.offsets), "items")
    return watched(files.join(work, "progress"), int(summary.media_bytes.sum()), progress)


def _run_pipeline(pipeline: beam.Pipeline, manifest_path: str, manifest_sha256: str) -> None:
    """Runs the pipeline; lines are read by offset, so a manifest may not change meanwhile."""
    try:
        pipeline.run().wait_until_finish()
    except RuntimeError as error:
        if _DEAD_WORKER in str(error):
            raise UserError(
                "a worker process died, most often for lack of memory; use fewer --workers"
            ) from error
        raise
    finally:
        if files.sha256(manifest_path) != manifest_sha256:
            raise UserError(f"manifest {manifest_path} changed while the job ran; run it again")


def _build(
    pipeline: beam.Pipeline,
    config: JobConfig,
    summary: manifest.ManifestSummary,
    folder: str,
    work: str,
) -> None:
    outputs = (
        pipeline
        | "Lines" >> beam.Create(list(enumerate(_line_groups(summary, config.workers))))
        # Grouping by number keeps the order, which spreads large files evenly over the workers.
        | "Spread" >> beam.GroupByKey()
        | "Groups" >> beam.FlatMapTuple(lambda _, groups: groups)
        | "Process"
        >> beam.ParDo(
            transforms.ProcessLines(config.preprocess, config.manifest_path, work)
        ).with_outputs(transforms.FACTS, transforms.REJECTS, main="staged")
    )
    _write_shards(outputs.staged, config, folder, work)
    (
        outputs[transforms.FACTS]
        | "CombineFacts" >> beam.CombinePerKey(statistics.CombineFacts())
        | "WriteStatistics" >> beam.ParDo(transforms.WriteStatistics(work))
    )
    (
        outputs[transforms.REJECTS]
        | "RejectParts"
        >> beam.Map(lambda reject: (manifest.stable_hash(reject["id"]) % _REJECT_PARTS, reject))
        | "GroupRejects" >> beam.GroupByKey()
        | "WriteRejects" >> beam.ParDo(transforms.WriteRejects(work))
    )


def _write_shards(staged: beam.PCollection, config: JobConfig, folder: str, work: str) -> None:
    per_split = staged | "CountPerSplit" >> beam.combiners.Count.PerKey()
    (
        staged
        | "AssignShard"
        >> beam.ParDo(
            transforms.AssignShard(config.records_per_shard, config.shards_per_split),
            beam.pvalue.AsDict(per_split),
        )
        | "GroupShards" >> beam.GroupByKey()
        | "WriteShards" >> beam.ParDo(transforms.WriteShard(folder, work))
    )


def _line_groups(
    summary: manifest.ManifestSummary, workers: int
) -> list[list[transforms.LineReference]]:
    """References to manifest lines in small groups, those of large media first."""
    order = np.argsort(-summary.media_bytes, kind="stable")
    size = len(order) // (workers * _ELEMENTS_PER_WORKER)
    size = min(max(size, 1), _MAX_LINES_PER_BUNDLE_ELEMENT)
    references = [
        (
            int(summary.offsets[line]),
            int(summary.sizes_bytes[line]),
            bool(summary.duplicates[line]),
            int(summary.media_bytes[line]),
        )
        for line in order
    ]
    return [references[start : start + size] for start in range(0, len(references), size)]
