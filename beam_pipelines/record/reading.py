"""Reads record folders without TensorFlow, for inspection and checks."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.record import contract
from beam_pipelines.record.contract import INDEX_SUFFIX
from beam_pipelines.record.serialize import parse
from beam_pipelines.record.shards import (
    DamagedRecordError,
    read_at,
    read_index,
    read_records,
    shard_of,
)
from beam_pipelines.record.survey import compression, unpacking
from mm_models.errors import UserError

FORMAT_VERSION = 1
_SHARD_NAME = r"\.tfrecords?(-|\.|$)|-\d+-of-\d+(?!.*\.(index|json)$)"
_MAGIC_BYTES = 16


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


def find_shards(data: str) -> list[str]:
    """Paths of TFRecord files, of a folder, a pattern or a file. Raises UserError without any."""
    pattern = re.sub(r"@\d+$", "*-of-*", data)
    if files.is_folder(data):
        named = (path for path, _ in files.list_files(data))
        found = [path for path in named if re.search(_SHARD_NAME, path.rsplit("/", 1)[-1])]
    else:
        found = [path for path in files.matching(pattern) if not path.endswith(INDEX_SUFFIX)]
    if not found:
        raise UserError(
            f"--data={data} is no folder that `mmstack preprocess` wrote, since it has no "
            f"{contract.DATASET_INFO}, and there are no TFRecord files; name one of both"
        )
    return found


def read_shard(path: str) -> Iterator[bytes]:
    """Serialized records of a TFRecord file, in order. Raises UserError for a damaged one."""
    try:
        for _, record in read_records(path):
            yield record
    except DamagedRecordError as error:
        with files.open_read(path) as file:
            packed = compression(file.read(_MAGIC_BYTES))
        fault = unpacking(path, packed) if packed else f"{error}; write the file again"
        raise UserError(fault) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}; check the path") from error


@contextlib.contextmanager
def damage(shard: str) -> Iterator[None]:
    """Raises as a UserError what reading a damaged shard raises."""
    try:
        yield
    except (OSError, ValueError, LookupError) as error:
        named = "" if shard in str(error) else f"{shard}: "
        raise UserError(
            f"{named}{error}; see `mmstack doctor --data=...` for all damage, and preprocess again"
        ) from error


def _parsed_records(shard: str) -> Iterator[tuple[dict, dict]]:
    with damage(shard):
        offsets = read_index(shard)
    for start, end in itertools.pairwise(offsets):
        with damage(shard):
            record = parse(read_at(shard, start, end))
        yield record


def iterate(folder: str, split: str) -> Iterator[tuple[dict, dict]]:
    """(context, feature lists) of a split's records, shard by shard, in order of their keys.

    Raises:
        UserError: a shard or its index is missing or damaged.
    """
    for shard in split_shards(folder, split):
        yield from _parsed_records(shard)


def find(folder: str, split: str, key: str) -> tuple[dict, dict]:
    """(context, feature lists) of the record with a key. Raises UserError as `iterate` does."""
    shards = split_shards(folder, split)
    for context, lists in _parsed_records(shards[shard_of(key, len(shards))]):
        if context.get(contract.CLIP_KEY) == [key.encode()]:
            return context, lists
    raise UserError(f"--key {key}: no such record in {folder}, split {split}")
