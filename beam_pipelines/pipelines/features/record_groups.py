"""Records of a folder on their way to the workers, as places in shards."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam

from beam_pipelines import files
from beam_pipelines.record.reading import damage
from beam_pipelines.record.serialize import parse
from beam_pipelines.record.shards import read_at, read_index

_RECORDS_PER_GROUP = 16


class RecordGroup(NamedTuple):
    """Some neighbouring records of a shard.

    Attributes:
        split: theirs.
        path: of the shard.
        offsets: of each record, and the end of the last one.
    """

    split: str
    path: str
    offsets: tuple[int, ...]

    def records(self) -> Iterator[tuple[dict, dict, int]]:
        """(context, feature lists, bytes) of each record. Raises UserError for a damaged one."""
        for start, end in itertools.pairwise(self.offsets):
            with damage(self.path):
                context, lists = parse(read_at(self.path, start, end), floats_as_arrays=True)
            yield context, lists, end - start


def groups_of_shard(split: str, path: str) -> Iterator[RecordGroup]:
    """The records of a shard in groups. Raises UserError for a damaged index."""
    with damage(path):
        offsets = read_index(path)
    for first in range(0, len(offsets) - 1, _RECORDS_PER_GROUP):
        yield RecordGroup(split, path, tuple(offsets[first : first + _RECORDS_PER_GROUP + 1]))


class ReadRecordGroups(beam.PTransform):
    """Content of `dataset_info.json` → groups of its records, spread over the workers."""

    def __init__(self, folder: str, splits: dict):
        super().__init__()
        self._shards = [
            (split, files.join(folder, shard["file"]))
            for split, about in splits.items()
            for shard in about["shards"]
        ]

    def expand(self, begin):
        return (
            begin
            | "Shards" >> beam.Create(self._shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "Groups" >> beam.FlatMapTuple(groups_of_shard)
            | "SpreadGroups" >> beam.Reshuffle()
        )
