"""Manifest of raw media → folder of records."""

from typing import Any

import apache_beam as beam

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines import transforms
from beam_pipelines.pipelines.folder_description import finish
from beam_pipelines.pipelines.job import run_watched_job
from beam_pipelines.pipelines.job_config import JobConfig
from beam_pipelines.pipelines.job_errors import disk_errors
from beam_pipelines.pipelines.manifest_lines import ReadLineGroups, write_parts
from beam_pipelines.pipelines.runner import check_reachable, check_runner, is_local, make_pipeline
from beam_pipelines.pipelines.worker_progress import progress_folder
from beam_pipelines.publishing.outputs import appearing_folder, check_output
from beam_pipelines.record import contract, statistics

_REJECT_PARTS = 16


def run(config: JobConfig) -> dict[str, Any]:
    """Runs the job and returns the content of `dataset_info.json`.

    Raises:
        UserError: for a bad manifest or output, before any decoding; when the job ends badly; and
            when no item gives a record, or more are rejected than the job allows.
    """
    words = list(config.passthrough)
    check_runner(words)
    check_output(config.output, overwrite=config.overwrite)
    check_reachable("--output", config.output, words, config.shared_filesystem)
    summary = manifest.scan(config.manifest_path, measure_media=True)
    if summary.local_media:
        check_reachable("media", summary.local_media, words, config.shared_filesystem)
    pipeline = make_pipeline(words, workers=config.workers, num_items=len(summary.offsets))
    with (
        disk_errors(),
        appearing_folder(
            config.output, contract.DATASET_INFO, overwrite=config.overwrite
        ) as folder,
        progress_folder(is_local(words)) as progress,
    ):
        work = files.join(folder, "_work")
        for name in ("lines", "staged", "shards", "statistics", "rejects"):
            files.make_folder(files.join(work, name))
        lines = files.join(work, "lines")
        write_parts(config.manifest_path, summary, lines, config.workers)
        _build(pipeline, config, folder, work, progress)
        run_watched_job(pipeline, len(summary.offsets), int(summary.media_bytes.sum()), progress)
        info = finish(config, summary, folder, work)
        files.delete_tree(work)
    return info


def _build(
    pipeline: beam.Pipeline, config: JobConfig, folder: str, work: str, progress: str
) -> None:
    outputs = (
        pipeline
        | "Read" >> ReadLineGroups(files.join(work, "lines"))
        | "Process"
        >> beam.ParDo(
            transforms.ProcessLines(config.preprocess, config.manifest_path, work, progress)
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
