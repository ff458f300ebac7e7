"""What the workers wrote → the files that describe a record folder."""

import dataclasses
import heapq
import json
from collections.abc import Mapping
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines import transforms
from beam_pipelines.pipelines.job_config import RecordJob
from beam_pipelines.pipelines.preprocess_item import (
    ITEM,
    ITEM_WITH_RECORDS,
    OUTCOMES,
    RECORD,
    REJECTED_CLIP,
    REJECTED_ITEM,
)
from beam_pipelines.pipelines.transforms import WorkPlace
from beam_pipelines.record import contract
from beam_pipelines.record.reading import FORMAT_VERSION
from beam_pipelines.record.shards import write_shard
from mm_models.errors import UserError

REJECTS_FILE, STATISTICS_FILE = "rejects.jsonl", "statistics.json"


@dataclasses.dataclass(frozen=True)
class Described:
    """What a job itself knows of the folder that it makes.

    Attributes:
        source: what it was made of, for messages.
        remedy: what to look at where no item gave a record.
        num_items: items that went in.
        about: entries of `dataset_info.json`: labels, media, config, and the job's own.
    """

    source: str
    remedy: str
    num_items: int
    about: Mapping[str, Any]


def finish(job: RecordJob, described: Described, place: WorkPlace) -> dict[str, Any]:
    """Joins the workers' small files, checks the counts, and writes what describes the data.

    Args:
        job: what was asked for.
        described: what the job itself knows.
        place: record folder with the shards, and what the workers left.

    Returns:
        Content of `dataset_info.json`, with `reject_codes` added.

    Raises:
        UserError: when no item gave a record, or more are rejected than the job allows.
        RuntimeError: when the counts disagree.
    """
    folder, work = place.output, place.work
    by_split = _read_parts(files.join(work, "statistics"))
    run_words = by_split.pop(transforms.WHOLE_RUN)["words"]
    counts = dict.fromkeys(OUTCOMES, 0) | dict(run_words["outcomes"]["top"])
    reject_codes = dict(run_words["reject_codes"]["top"]) if "reject_codes" in run_words else {}
    splits = _splits(folder, work)
    check_counts(counts, described.num_items, splits)
    if not counts[RECORD]:
        raise UserError(
            f"{described.source}: none of its {counts[ITEM]} items gave a record "
            f"({_codes(reject_codes)}); {described.remedy}"
        )
    files.write_json(
        files.join(folder, STATISTICS_FILE), {"splits": by_split, "rejects": reject_codes}
    )
    _join_rejects(folder, work)
    check_rejected_share(job, counts, reject_codes, folder)
    info = _dataset_info(job, described, splits, counts)
    files.write_json(files.join(folder, contract.DATASET_INFO), info)
    return info | {"reject_codes": reject_codes}


def check_rejected_share(
    job: RecordJob, counts: dict[str, int], reject_codes: dict[str, int], folder: str
) -> None:
    """Raises UserError when the job lost more than it may; says why each kind was rejected.

    Args:
        job: what was asked for.
        counts: items and clips with records, and rejected.
        reject_codes: rejects by code.
        folder: has the file of rejects.
    """
    limit = job.max_rejected_share
    for unit, rejected, kept in (
        ("items", counts[REJECTED_ITEM], counts[ITEM_WITH_RECORDS]),
        ("clips", counts[REJECTED_CLIP], counts[RECORD]),
    ):
        total = rejected + kept
        if rejected > limit * total:
            raise UserError(
                f"{rejected} of {total} {unit} were rejected ({_codes(reject_codes)}), more than "
                f"--max_rejected_share {limit:g} allows, so {job.output} was not written; mend "
                f"them or raise the share; {_first_of_each_code(folder)}"
            )


def _first_of_each_code(folder: str) -> str:
    first: dict[str, str] = {}
    with files.open_read(files.join(folder, REJECTS_FILE)) as lines:
        for line in lines:
            reject = json.loads(line)
            text = f"{reject['code']}: {reject['id']}: {reject['detail']}"
            first.setdefault(reject["code"], text)
    return "the first of each kind: " + "; ".join(first.values())


def _codes(reject_codes: dict[str, int]) -> str:
    return ", ".join(f"{code} {number}" for code, number in sorted(reject_codes.items()))


def _read_parts(folder: str) -> dict[str, Any]:
    return {
        path.rsplit("/", 1)[-1].removesuffix(".json"): json.loads(files.read_bytes(path))
        for path, _ in files.list_files(folder)
    }


def _splits(folder: str, work: str) -> dict[str, Any]:
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
                name = contract.shard_name(split, shard, totals[split])
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
    job: RecordJob, described: Described, splits: dict[str, Any], counts: dict[str, int]
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": job.output.rstrip("/").rsplit("/", 1)[-1],
        "splits": splits,
        "features": {
            key: {
                "where": feature.where,
                "dtype": feature.dtype,
                "axes": list(feature.axes),
                "unit": feature.unit,
            }
            for key, feature in contract.FEATURES.items()
        },
        **described.about,
        "counts": counts,
    }
