"""Reads record folders without TensorFlow, for inspection and checks."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.record import contract
from beam_pipelines.record.serialize import parse
from beam_pipelines.record.shards import read_at, read_index, shard_of
from mm_models.errors import UserError

FORMAT_VERSION = 1


def read_dataset_info(folder: str) -> dict[str, Any]:
    """Content of a record folder's `dataset_info.json`. Raises UserError."""
    path = files.join(folder, contract.DATASET_INFO)
    try:
        info = json.loads(files.read_bytes(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: {error}; name a folder that `mmstack preprocess` wrote"
        ) from error
    if not isinstance(info, dict) or info.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is not {FORMAT_VERSION}; preprocess again")
    try:
        _check_info(info)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); preprocess again"
        ) from error
    return info


def _check_info(info: dict[str, Any]) -> None:
    """Raises KeyError, TypeError or AttributeError where a part that readers need is not there."""
    str.__str__(info["name"])
    dict.keys(info["media"])
    for key in ("items", "rejected_items", "records"):
        int.__index__(info["counts"][key])
    if not info["splits"]:
        raise KeyError("splits")
    for split in dict.values(info["splits"]):
        int.__index__(split["num_records"])
        for shard in list.__iter__(split["shards"]):
            str.__str__(shard["file"])
            int.__index__(shard["size_bytes"])


def split_shards(folder: str, split: str) -> list[str]:
    """Paths of a split's shards, in order. Raises UserError."""
    splits = read_dataset_info(folder)["splits"]
    if split not in splits:
        raise UserError(f"--split {split}: {folder} has the splits {', '.join(splits)}")
    return [files.join(folder, shard["file"]) for shard in splits[split]["shards"]]


@contextlib.contextmanager
def _damage(shard: str) -> Iterator[None]:
    """Raises as a UserError what reading a damaged shard raises."""
    try:
        yield
    except (OSError, ValueError, LookupError) as error:
        named = "" if shard in str(error) else f"{shard}: "
        raise UserError(
            f"{named}{error}; see `mmstack doctor --data=...` for all damage, and preprocess again"
        ) from error


def _read_shard(shard: str) -> Iterator[tuple[dict, dict]]:
    with _damage(shard):
        offsets = read_index(shard)
    for start, end in itertools.pairwise(offsets):
        with _damage(shard):
            record = parse(read_at(shard, start, end))
        yield record


def iterate(folder: str, split: str) -> Iterator[tuple[dict, dict]]:
    """(context, feature lists) of a split's records, shard by shard, in order of their keys.

    Raises:
        UserError: a shard or its index is missing or damaged.
    """
    for shard in split_shards(folder, split):
        yield from _read_shard(shard)


def find(folder: str, split: str, key: str) -> tuple[dict, dict]:
    """(context, feature lists) of the record with a key. Raises UserError as `iterate` does."""
    shards = split_shards(folder, split)
    for context, lists in _read_shard(shards[shard_of(key, len(shards))]):
        if context.get(contract.CLIP_KEY) == [key.encode()]:
            return context, lists
    raise UserError(f"--key {key}: no such record in {folder}, split {split}")
