"""Reads record folders without TensorFlow, for inspection and checks."""

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
    return info


def split_shards(folder: str, split: str) -> list[str]:
    """Paths of a split's shards, in order. Raises UserError."""
    splits = read_dataset_info(folder)["splits"]
    if split not in splits:
        raise UserError(f"--split {split}: {folder} has the splits {', '.join(splits)}")
    return [files.join(folder, shard["file"]) for shard in splits[split]["shards"]]


def iterate(folder: str, split: str) -> Iterator[tuple[dict, dict]]:
    """(context, feature lists) of a split's records, shard by shard, in order of their keys."""
    for shard in split_shards(folder, split):
        offsets = read_index(shard)
        for start, end in zip(offsets, offsets[1:], strict=False):
            yield parse(read_at(shard, start, end))


def find(folder: str, split: str, key: str) -> tuple[dict, dict]:
    """(context, feature lists) of the record with a key. Raises UserError."""
    shards = split_shards(folder, split)
    shard = shards[shard_of(key, len(shards))]
    offsets = read_index(shard)
    for start, end in zip(offsets, offsets[1:], strict=False):
        context, lists = parse(read_at(shard, start, end))
        if context[contract.CLIP_KEY] == [key.encode()]:
            return context, lists
    raise UserError(f"--key {key}: no such record in {folder}, split {split}")
