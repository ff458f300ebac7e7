"""Manifest of raw media → folder of records."""

import dataclasses
import heapq
import json
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import files, manifest, records, statistics, transforms
from beam_pipelines.pipelines.output import appearing_folder, check_output
from beam_pipelines.pipelines.progress import Progress
from beam_pipelines.pipelines.runner import is_local, make_pipeline
from beam_pipelines.preprocessing import (
    ITEM,
    ITEM_WITH_RECORDS,
    OUTCOMES,
    RECORD,
    REJECTED_ITEM,
    PreprocessConfig,
)
from beam_pipelines.shards import write_shard
from mm_models.errors import UserError

FORMAT_VERSION = 1
REJECTS_FILE, STATISTICS_FILE = "rejects.jsonl", "statistics.json"
_REJECT_PARTS = 16
_MAX_LINES_PER_BUNDLE_ELEMENT = 16
_ELEMENTS_PER_WORKER = 16


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """A preprocessing job.

    Attributes:
        manifest_path, output: what to read and the folder to make; either may be a URL.
        preprocess: what decides the records' content.
        records_per_shard: records a shard holds, about; the number of shards follows from it.
        shards_per_split: number of shards of every split, instead.
        workers: worker processes on this machine.
        overwrite: whether an existing output may be replaced.
        passthrough: options for Beam.
    """

    manifest_path: str
    output: str
    preprocess: PreprocessConfig = PreprocessConfig()
    records_per_shard: int = 1024
    shards_per_split: int | None = None
    workers: int = 1
    overwrite: bool = False
    passthrough: tuple[str, ...] = ()


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
        config.output, overwrite=config.overwrite, last=records.DATASET_INFO
    ) as folder:
        work = files.join(folder, "_work")
        for name in ("staged", "shards", "statistics", "rejects", "progress"):
            files.make_folder(files.join(work, name))
        watched = is_local(passthrough) and not files.is_remote(work)
        with Progress(
            files.join(work, "progress") if watched else None,
            len(summary.offsets),
            int(summary.media_bytes.sum()),
        ):
            _build(pipeline, config, summary, folder, work)
            _run_pipeline(pipeline, config.manifest_path, summary.sha256)
        info = _finish(config, summary, folder, work)
        files.delete_tree(work)
    return info


def _run_pipeline(pipeline: beam.Pipeline, manifest_path: str, manifest_sha256: str) -> None:
    """Runs the pipeline; lines are read by offset, so a manifest may not change meanwhile."""
    try:
        pipeline.run().wait_until_finish()
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


def _finish(
    config: JobConfig, summary: manifest.ManifestSummary, folder: str, work: str
) -> dict[str, Any]:
    """Joins the workers' small files, checks the counts, and writes what describes the data."""
    by_split = _read_parts(files.join(work, "statistics"))
    run_words = by_split.pop(transforms.WHOLE_RUN)["words"]
    counts = dict.fromkeys(OUTCOMES, 0) | dict(run_words["outcomes"]["top"])
    reject_codes = dict(run_words["reject_codes"]["top"]) if "reject_codes" in run_words else {}
    splits = _splits(config, folder, work)
    check_counts(counts, len(summary.offsets), splits)
    if not counts[RECORD]:
        raise UserError(
            f"manifest {config.manifest_path}: none of its {counts[ITEM]} items gave a record "
            f"({_codes(reject_codes)}); check that the media paths are relative to its folder"
        )
    files.write_json(
        files.join(folder, STATISTICS_FILE), {"splits": by_split, "rejects": reject_codes}
    )
    _join_rejects(folder, work)
    info = _dataset_info(config, summary, splits, counts)
    files.write_json(files.join(folder, records.DATASET_INFO), info)
    return info | {"reject_codes": reject_codes}


def _codes(reject_codes: dict[str, int]) -> str:
    return ", ".join(f"{code} {number}" for code, number in sorted(reject_codes.items()))


def _read_parts(folder: str) -> dict[str, Any]:
    return {
        path.rsplit("/", 1)[-1].removesuffix(".json"): json.loads(files.read_bytes(path))
        for path, _ in files.list_files(folder)
    }


def _splits(config: JobConfig, folder: str, work: str) -> dict[str, Any]:
    """`splits` of dataset_info.json; shards that no record fell into are written empty."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    totals: dict[str, int] = {}
    for about in _read_parts(files.join(work, "shards")).values():
        split = about.pop("split")
        totals[split] = about.pop("num_shards")
        found.setdefault(split, {})[about.pop("shard")] = about
    splits = {}
    for split in sorted(found, key=manifest.SPLITS.index):
        for shard in range(totals[split]):
            if shard not in found[split]:
                name = records.shard_name(split, shard, totals[split])
                found[split][shard] = write_shard(folder, name, [], work).__dict__
        shards = [found[split][shard] for shard in range(totals[split])]
        splits[split] = {
            "num_records": sum(shard["num_records"] for shard in shards),
            "shards": shards,
        }
    return splits


def check_counts(counts: dict[str, int], items_in: int, splits: dict[str, Any]) -> None:
    """Checks that no item and no record was lost or doubled.

    Raises:
        RuntimeError: when the counts disagree, which is a defect of the pipeline.
    """
    written = sum(split["num_records"] for split in splits.values())
    accounted = counts[ITEM_WITH_RECORDS] + counts[REJECTED_ITEM]
    if not items_in == counts[ITEM] == accounted or written != counts[RECORD]:
        raise RuntimeError(
            f"counts disagree: {items_in} items in the manifest, {counts[ITEM]} processed, "
            f"{accounted} with records or rejected, {counts[RECORD]} records, {written} written"
        )


def _join_rejects(folder: str, work: str) -> None:
    """Merges the sorted parts into one sorted file, a line at a time."""
    parts = [files.open_read(path) for path, _ in files.list_files(files.join(work, "rejects"))]
    with files.open_write(files.join(folder, REJECTS_FILE)) as output:
        merged = heapq.merge(*parts, key=lambda line: transforms.reject_order(json.loads(line)))
        for line in merged:
            output.write(line)
    for part in parts:
        part.close()


def _dataset_info(
    config: JobConfig,
    summary: manifest.ManifestSummary,
    splits: dict[str, Any],
    counts: dict[str, int],
) -> dict[str, Any]:
    preprocess = config.preprocess
    return {
        "format_version": FORMAT_VERSION,
        "name": config.output.rstrip("/").rsplit("/", 1)[-1],
        "splits": splits,
        "features": {
            key: {
                "where": feature.where,
                "dtype": feature.dtype,
                "axes": list(feature.axes),
                "unit": feature.unit,
            }
            for key, feature in records.FEATURES.items()
        },
        "labels": summary.labels,
        "media": {
            "frame_rate_hz": preprocess.frame_rate_hz if preprocess.want_video else None,
            "short_side": preprocess.short_side if preprocess.want_video else None,
            "sample_rate_hz": preprocess.sample_rate_hz if preprocess.want_audio else None,
            "audio_encoding": preprocess.audio_encoding,
        },
        "counts": counts,
        "config": dataclasses.asdict(preprocess)
        | {
            "records_per_shard": config.records_per_shard,
            "shards_per_split": config.shards_per_split,
        },
        "manifest_sha256": summary.sha256,
    }
