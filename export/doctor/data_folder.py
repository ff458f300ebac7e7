"""A record folder: what its description promises against what is there."""

import hashlib
import itertools
import json
import posixpath
import struct
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from export.doctor.findings import Finding, left_over, note, ok, problem

DATASET_INFO = "dataset_info.json"
INDEX_SUFFIX = ".index"
PREPROCESS_AGAIN = "run `mmstack preprocess` again into a new folder"
DELETE_INDEX = "delete it, and readers scan the shard instead"
_CHUNK_BYTES = 2**24
# A record begins with its length, and has a checksum of that and one of its content around it.
_LENGTH_BYTES = 8
_FRAME_BYTES = 16


def check_data(folder: str, *, hashes: bool = True) -> Iterator[Finding]:
    """Findings about `folder`, which may be a remote URL.

    Args:
        folder: written by `mmstack preprocess`.
        hashes: also read every byte and compare SHA-256.
    """
    file = posixpath.join(folder, DATASET_INFO)
    try:
        with tf.io.gfile.GFile(file) as stream:
            info = json.load(stream)
        splits = dict(info["splits"])
    except tf.errors.OpError:
        remedy = "give the --output of `mmstack preprocess`, or run it"
        yield problem(folder, f"no {DATASET_INFO}", remedy)
        return
    except (ValueError, KeyError, TypeError) as error:
        yield problem(file, f"damaged ({type(error).__name__}: {error})", PREPROCESS_AGAIN)
        return
    if info.get("format_version") != 1:
        version = info.get("format_version")
        yield problem(file, f"format_version {version}, known is 1", PREPROCESS_AGAIN)
    for split, description in splits.items():
        yield from _check_split(folder, split, description, hashes)
    yield from _check_counts(file, info, splits)
    names = tf.io.gfile.listdir(folder)
    yield from left_over(folder, (name for name in names if name.startswith(".tmp-")))


def _check_split(folder: str, split: str, description: Any, hashes: bool) -> Iterator[Finding]:
    try:
        shards = [dict(shard) for shard in description["shards"]]
        num_records = int(description["num_records"])
        in_shards = sum(int(shard["num_records"]) for shard in shards)
    except (KeyError, TypeError, ValueError) as error:
        yield problem(f"{folder} {split}", f"unreadable entry ({error})", PREPROCESS_AGAIN)
        return
    if not num_records:
        yield note(f"{folder} {split}", "holds no records", "check the manifest's splits")
    findings = [f for shard in shards for f in _check_shard(folder, shard, hashes)]
    yield from findings
    if in_shards != num_records:
        message = f"{num_records} records promised, its shards list {in_shards}"
        yield problem(f"{folder} {split}", message, PREPROCESS_AGAIN)
    elif not findings:
        how = "sizes, hashes and indexes" if hashes else "sizes"
        message = f"{num_records} records in {len(shards)} shards, {how} as described"
        yield ok(f"{folder} {split}", message)


def _check_shard(folder: str, shard: dict[str, Any], hashes: bool) -> Iterator[Finding]:
    path = posixpath.join(folder, str(shard.get("file")))
    try:
        size_bytes = tf.io.gfile.stat(path).length
    except tf.errors.OpError:
        yield problem(path, "missing", PREPROCESS_AGAIN)
        return
    findings, offsets = _read_index(path, int(shard["num_records"]), size_bytes)
    yield from findings
    if size_bytes != shard.get("size_bytes"):
        message = f"{size_bytes} bytes, expected {shard.get('size_bytes')}"
        yield problem(path, message, PREPROCESS_AGAIN)
    elif hashes:
        sha256, misplaced = _read_shard(path, offsets or [0, size_bytes])
        if sha256 != shard.get("sha256"):
            yield problem(path, "its SHA-256 is not the one described", PREPROCESS_AGAIN)
        elif offsets and misplaced:
            message = f"no record starts at {misplaced} of its {len(offsets)} offsets"
            yield problem(f"{path}{INDEX_SUFFIX}", message, DELETE_INDEX)


def _read_index(path: str, num_records: int, size_bytes: int) -> tuple[list[Finding], list[int]]:
    """What is wrong with a shard's index, and its offsets where they can be those of the shard."""
    file = f"{path}{INDEX_SUFFIX}"
    try:
        with tf.io.gfile.GFile(file, "rb") as stream:
            content = stream.read()
    except tf.errors.OpError:
        return [note(file, "missing; readers have to scan the shard", PREPROCESS_AGAIN)], []
    if len(content) != 8 * (num_records + 1):
        expected = 8 * (num_records + 1)
        return [problem(file, f"{len(content)} bytes, expected {expected}", DELETE_INDEX)], []
    offsets = list(struct.unpack(f"<{num_records + 1}Q", content))
    if offsets[0] != 0 or offsets[-1] != size_bytes or offsets != sorted(set(offsets)):
        return [problem(file, "offsets do not fit the shard", DELETE_INDEX)], []
    return [], offsets


def _read_shard(path: str, offsets: list[int]) -> tuple[str, int]:
    """SHA-256 of a shard, and at how many of the offsets no record of the right length starts."""
    digest, misplaced = hashlib.sha256(), 0
    with tf.io.gfile.GFile(path, "rb") as stream:
        for start, end in itertools.pairwise(offsets):
            head = stream.read(min(_LENGTH_BYTES, end - start))
            misplaced += head != struct.pack("<Q", max(end - start - _FRAME_BYTES, 0))
            digest.update(head)
            for place in range(start + len(head), end, _CHUNK_BYTES):
                digest.update(stream.read(min(_CHUNK_BYTES, end - place)))
    return digest.hexdigest(), misplaced


def _check_counts(file: str, info: dict[str, Any], splits: dict[str, Any]) -> Iterator[Finding]:
    counts = info.get("counts") or {}
    try:
        total = sum(int(split["num_records"]) for split in splits.values())
        balanced = counts["items"] == counts["items_with_records"] + counts["rejected_items"]
        if counts["records"] != total or not balanced:
            yield problem(file, f"counts do not add up: {counts}", PREPROCESS_AGAIN)
    except (KeyError, TypeError, ValueError):
        yield problem(file, "counts are missing or unreadable", PREPROCESS_AGAIN)
        return
    if counts["rejected_items"]:
        message = f"{counts['rejected_items']} of {counts['items']} items were rejected"
        yield note(file, message, "read rejects.jsonl")
