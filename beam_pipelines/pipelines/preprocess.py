"""Manifest of raw media → folder of records."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines.folder_description import Described, finish
from beam_pipelines.pipelines.job import check_job, record_work, run_watched_job
from beam_pipelines.pipelines.job_config import JobConfig
from beam_pipelines.pipelines.manifest_lines import LineText, ReadLineGroups, write_parts
from beam_pipelines.pipelines.preprocess_item import ItemOutcome, ItemProcessor, PreprocessConfig
from beam_pipelines.pipelines.runner import check_reachable, make_pipeline
from beam_pipelines.pipelines.transforms import ShardCount, WriteRecords


def run(config: JobConfig) -> dict[str, Any]:
    """Runs the job and returns the content of `dataset_info.json`.

    Raises:
        UserError: for a bad manifest or output, before any decoding; when the job ends badly; and
            when no item gives a record, or more are rejected than the job allows.
    """
    words = list(config.passthrough)
    check_job(config)
    with_media = config.preprocess.wants_media
    summary = manifest.scan(
        config.manifest_path, require_media=with_media, measure_media=with_media
    )
    if summary.local_media:
        check_reachable("media", summary.local_media, words, config.shared_filesystem)
    num_items = len(summary.offsets)
    pipeline = make_pipeline(words, workers=config.workers, num_items=num_items)
    with record_work(config) as place:
        lines = files.join(place.work, "lines")
        files.make_folder(lines)
        write_parts(config.manifest_path, summary, lines, config.workers)
        open_processor = functools.partial(LineProcessor, config.preprocess, config.manifest_path)
        shards = ShardCount(config.records_per_shard, config.shards_per_split)
        (
            pipeline
            | "Read" >> ReadLineGroups(lines)
            | "Write" >> WriteRecords(open_processor, place, shards)
        )
        run_watched_job(pipeline, num_items, int(summary.media_bytes.sum()), place.progress)
        return finish(config, _described(config, summary), place)


class LineProcessor:
    """Groups of manifest lines to what becomes of their items, with one decoding child."""

    def __init__(self, config: PreprocessConfig, manifest_path: str):
        self._processor = ItemProcessor(config, manifest_path)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "LineProcessor":
        self._open.enter_context(self._processor)
        return self

    def __exit__(self, *exc_info) -> None:
        self._open.close()

    def outcomes(self, group: Iterable[LineText]) -> Iterator[tuple[ItemOutcome, int]]:
        """What becomes of the item of each line, and the bytes of its media."""
        for line in group:
            item = manifest.parse_line(line.text)
            yield self._processor.process(item, is_duplicate=line.is_duplicate), line.media_bytes


def _described(config: JobConfig, summary: manifest.ManifestSummary) -> Described:
    preprocess = config.preprocess
    shards = ("records_per_shard", "shards_per_split")
    return Described(
        source=f"manifest {config.manifest_path}",
        remedy="check that the media paths are relative to its folder",
        num_items=len(summary.offsets),
        about={
            "labels": summary.labels,
            "media": {
                "frame_rate_hz": preprocess.frame_rate_hz if preprocess.want_video else None,
                "short_side": preprocess.short_side if preprocess.want_video else None,
                "region": preprocess.region if preprocess.want_video else None,
                "sample_rate_hz": preprocess.sample_rate_hz if preprocess.want_audio else None,
                "audio_encoding": preprocess.audio_encoding,
            },
            "config": dataclasses.asdict(preprocess)
            | {name: getattr(config, name) for name in shards},
            "manifest_sha256": summary.sha256,
        },
    )
