"""Folder of records with frames → folder of records with features of a frozen encoder."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

from apache_beam.utils.shared import Shared

from beam_pipelines import files
from beam_pipelines.pipelines.features.encoder import EncoderFolder, FrozenEncoder
from beam_pipelines.pipelines.features.features_job import FeaturesJob, GridConfig
from beam_pipelines.pipelines.features.record_groups import ReadRecordGroups, groups_of_shard
from beam_pipelines.pipelines.features.record_processor import RecordProcessor, too_small
from beam_pipelines.pipelines.features.step_frames import steps_of
from beam_pipelines.pipelines.folder_description import Described, finish
from beam_pipelines.pipelines.job import check_job, record_work, run_watched_job
from beam_pipelines.pipelines.runner import check_reachable, make_pipeline
from beam_pipelines.pipelines.transforms import ShardCount, WriteRecords
from beam_pipelines.record import contract
from beam_pipelines.record.reading import read_dataset_info
from beam_pipelines.rejects import Reject
from mm_models.errors import UserError


class EncoderOfProcess:
    """Loads an encoder once in each process, however many threads of it ask."""

    def __init__(self, path: str):
        self._path, self._shared = path, Shared()

    def __call__(self) -> FrozenEncoder:
        """The loaded encoder. Raises UserError."""
        return self._shared.acquire(functools.partial(FrozenEncoder, self._path))


def run(job: FeaturesJob) -> dict[str, Any]:
    """Runs the job and returns the content of `dataset_info.json`.

    The encoder is tried on the first record with frames before any other work.

    Raises:
        UserError: for records, an encoder or an output that cannot work; when the job ends badly;
            and when no record has features, or more are rejected than the job allows.
    """
    words = list(job.passthrough)
    check_job(job)
    for name in ("records", "encoder"):
        check_reachable(f"--{name}", getattr(job, name), words, job.shared_filesystem)
    info = read_dataset_info(job.records)
    found = EncoderFolder.find(job.encoder)
    open_encoder = EncoderOfProcess(found.path)
    encoder = open_encoder()  # Held, so that workers in this process need not load it again.
    dim = _tried_dim(job, info["splits"], encoder)
    num_items = sum(split["num_records"] for split in info["splits"].values())
    pipeline = make_pipeline(words, workers=job.workers, num_items=num_items)
    open_processor = functools.partial(RecordProcessor, job.grid, found.identity, open_encoder)
    # As many shards as before, among which records are spread by their keys: the order stays.
    of_split = {split: len(about["shards"]) for split, about in info["splits"].items()}
    with record_work(job) as place:
        (
            pipeline
            | "Read" >> ReadRecordGroups(job.records, info["splits"])
            | "Write" >> WriteRecords(open_processor, place, ShardCount(of_split=of_split))
        )
        run_watched_job(pipeline, num_items, _size_bytes(info["splits"]), place.progress)
        return finish(job, _described(job, info, num_items, found.identity, dim), place)


def _size_bytes(splits: Mapping[str, Any]) -> int:
    return sum(shard["size_bytes"] for split in splits.values() for shard in split["shards"])


def _tried_dim(job: FeaturesJob, splits: Mapping[str, Any], encoder: FrozenEncoder) -> int:
    """Numbers of a region's features, of the first record that has frames. Raises UserError."""
    paths = [
        (split, files.join(job.records, shard["file"]))
        for split, about in splits.items()
        for shard in about["shards"]
    ]
    groups = itertools.chain.from_iterable(itertools.starmap(groups_of_shard, paths))
    for group in groups:
        for context, lists, _ in group.records():
            if not lists.get(contract.FRAMES):
                continue
            steps = steps_of(context, lists, job.grid.rate_hz, job.grid.window_seconds)
            clips = encoder.clips_of(lists[contract.FRAMES], steps)
            if isinstance(clips, Reject):
                continue
            maps = encoder.maps(clips[0][None])
            if fault := too_small(maps.shape[1:3], job.grid):
                raise UserError(
                    f"--encoder {job.encoder}: {fault}; ask for fewer with --rows and --columns"
                )
            return maps.shape[3]
    raise UserError(
        f"--records {job.records} holds no frames that can be read; name records that "
        "`mmstack preprocess` made without --no_video"
    )


def _described(
    job: FeaturesJob, info: Mapping[str, Any], num_items: int, encoder: str, dim: int
) -> Described:
    media = dict(info["media"])
    if not job.grid.keep_frames:
        media |= {"frame_rate_hz": None, "short_side": None, "region": None}
    if not job.grid.keep_sound:
        media |= {"sample_rate_hz": None}
    return Described(
        source=f"--records {job.records}",
        remedy="look at them with `mmstack inspect`",
        num_items=num_items,
        about={
            "labels": info.get("labels", []),
            "media": media,
            "clip_features": clip_features(job.grid, dim, encoder),
            "config": {**info.get("config", {}), "features": dataclasses.asdict(job.grid)},
            "manifest_sha256": info.get("manifest_sha256", ""),
            "made_from": info["name"],
        },
    )


def clip_features(grid: GridConfig, dim: int, encoder: str) -> dict[str, Any]:
    """What `dataset_info.json` says of features, which every record of a folder has alike."""
    shape = {"rows": grid.rows, "columns": grid.columns, "dim": dim}
    window = {"window_seconds": grid.window_seconds} if grid.window_seconds else {}
    return {**shape, "rate_hz": grid.rate_hz, **window, "encoder": encoder}
