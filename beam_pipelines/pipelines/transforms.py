"""The Beam skin of preprocessing: dead letters, counters, staging, and writers of small files."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines.manifest_lines import LineText
from beam_pipelines.pipelines.preprocess_item import (
    OUTCOMES,
    ItemOutcome,
    ItemProcessor,
    PreprocessConfig,
)
from beam_pipelines.pipelines.worker_progress import NAMESPACE, WorkerProgress
from beam_pipelines.record import statistics
from beam_pipelines.record.contract import shard_name
from beam_pipelines.record.shards import StagedRecord, StagingFile, shard_of, write_shard
from beam_pipelines.record.statistics import Facts

FACTS, REJECTS = "facts", "rejects"
WHOLE_RUN = "_run"


class ProcessLines(beam.DoFn):
    """Groups of manifest lines → staged records (main), facts and rejects.

    Outputs:
        main: (split, StagedRecord as a tuple).
        `facts`: (split, Facts), and (`_run`, Facts) with the outcomes that are checked at the end.
        `rejects`: lines of `rejects.jsonl` as dicts.
    """

    def __init__(
        self, config: PreprocessConfig, manifest_path: str, work_folder: str, progress_folder: str
    ):
        self._config = config
        self._manifest_path = manifest_path
        self._work_folder = work_folder
        self._progress_folder = progress_folder
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in OUTCOMES}

    def setup(self):
        self._processor = ItemProcessor(self._config, self._manifest_path)
        self._processor.__enter__()
        self._progress = WorkerProgress(self._progress_folder)

    def start_bundle(self):
        self._staging = StagingFile(files.join(self._work_folder, "staged"))

    def process(self, lines: Iterable[LineText]) -> Iterator[Any]:
        try:
            for line in lines:
                item = manifest.parse_line(line.text)
                outcome = self._processor.process(item, is_duplicate=line.is_duplicate)
                yield from self._outputs(outcome)
                self._progress.add(line.media_bytes)
        except BaseException:
            self._staging.discard()
            raise

    def _outputs(self, outcome: ItemOutcome) -> Iterator[Any]:
        for clip in outcome.records:
            yield outcome.split, tuple(self._staging.append(clip.key, clip.record))
        for reject in outcome.rejects:
            yield beam.pvalue.TaggedOutput(REJECTS, reject)
        outcomes = outcome.outcomes()
        for name in outcomes:
            self._counters[name].inc()
        run_facts = Facts(
            words={
                "outcomes": outcomes,
                "reject_codes": [reject["code"] for reject in outcome.rejects],
            }
        )
        yield beam.pvalue.TaggedOutput(FACTS, (WHOLE_RUN, run_facts))
        if outcome.records:
            yield beam.pvalue.TaggedOutput(FACTS, (outcome.split, outcome.facts))

    def finish_bundle(self):
        self._staging.close()
        self._progress.flush()

    def teardown(self):
        self._processor.__exit__(None, None, None)


class AssignShard(beam.DoFn):
    """(split, staged record) → ((split, shard), staged record), the shard by a stable hash."""

    def __init__(self, records_per_shard: int, shards_per_split: int | None):
        self._records_per_shard = records_per_shard
        self._shards_per_split = shards_per_split

    def process(self, element, records_per_split: dict[str, int]):
        split, staged = element
        total = num_shards(
            records_per_split[split], self._records_per_shard, self._shards_per_split
        )
        shard = shard_of(StagedRecord(*staged).key, total)
        yield (split, shard, total), staged


def num_shards(num_records: int, records_per_shard: int, shards_per_split: int | None) -> int:
    """Shards of a split: a fixed number, or as many as hold about `records_per_shard` each."""
    return shards_per_split or max(1, -(-num_records // records_per_shard))


class WriteShard(beam.DoFn):
    """((split, shard, shards), staged records) → the shard, its index, a small file about it."""

    def __init__(self, output_folder: str, work_folder: str):
        self._output_folder = output_folder
        self._work_folder = work_folder

    def process(self, element):
        (split, shard, total), staged = element
        name = shard_name(split, shard, total)
        info = write_shard(
            self._output_folder,
            name,
            (StagedRecord(*record) for record in staged),
            files.join(self._work_folder, "staged"),
        )
        about = {"split": split, "shard": shard, "num_shards": total, **info.__dict__}
        files.write_json(files.join(self._work_folder, f"shards/{name}.json"), about)


class WriteStatistics(beam.DoFn):
    """(split, combined facts) → a file with their statistics."""

    def __init__(self, work_folder: str):
        self._work_folder = work_folder

    def process(self, element):
        split, accumulator = element
        path = files.join(self._work_folder, f"statistics/{split}.json")
        files.write_json(path, statistics.to_json(accumulator))


class WriteRejects(beam.DoFn):
    """(part, rejects) → a file with their lines, sorted by id and clip."""

    def __init__(self, work_folder: str):
        self._work_folder = work_folder

    def process(self, element):
        part, rejects = element
        ordered = sorted(rejects, key=reject_order)
        lines = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in ordered)
        path = files.join(self._work_folder, f"rejects/{part:02d}.jsonl")
        files.write_bytes(path, lines.encode())


def reject_order(reject: dict[str, Any]) -> tuple:
    """Sorting key of lines of `rejects.jsonl`."""
    return reject["id"], reject.get("clip", -1), reject["media"], reject["detail"]
