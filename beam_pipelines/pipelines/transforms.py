"""The Beam skin of jobs that write records: dead letters, counters, staging, small files."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines.preprocess_item import OUTCOMES, ItemOutcome
from beam_pipelines.pipelines.worker_progress import NAMESPACE, WorkerProgress
from beam_pipelines.record import statistics
from beam_pipelines.record.contract import shard_name
from beam_pipelines.record.shards import StagedRecord, StagingFile, shard_of, write_shard
from beam_pipelines.record.statistics import Facts

FACTS, REJECTS = "facts", "rejects"
WHOLE_RUN = "_run"
_REJECT_PARTS = 16


class GroupProcessor(Protocol):
    """What a worker makes records with, while it is open as a context manager."""

    def __enter__(self) -> "GroupProcessor": ...

    def __exit__(self, *exc_info) -> None: ...

    def outcomes(self, group: Any) -> Iterator[tuple[ItemOutcome, int]]:
        """What becomes of each item of a group, and the bytes of its media, 0 where unknown."""


@dataclasses.dataclass(frozen=True)
class WorkPlace:
    """Folders of a running job that writes records.

    Attributes:
        output: becomes the record folder.
        work: what workers leave for each other; inside `output` as long as the job runs.
        progress: local folder for the workers' progress; empty for workers elsewhere.
    """

    output: str
    work: str
    progress: str


class ProcessGroups(beam.DoFn):
    """Groups of items → staged records (main), facts and rejects.

    Outputs:
        main: (split, StagedRecord as a tuple).
        `facts`: (split, Facts), and (`_run`, Facts) with the outcomes that are checked at the end.
        `rejects`: lines of `rejects.jsonl` as dicts.
    """

    def __init__(self, open_processor: Callable[[], GroupProcessor], place: WorkPlace):
        self._open_processor = open_processor
        self._place = place
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in OUTCOMES}

    def setup(self):
        self._processor = self._open_processor()
        self._processor.__enter__()
        self._progress = WorkerProgress(self._place.progress)

    def start_bundle(self):
        self._staging = StagingFile(files.join(self._place.work, "staged"))

    def process(self, group: Any) -> Iterator[Any]:
        try:
            for outcome, num_bytes in self._processor.outcomes(group):
                yield from self._outputs(outcome)
                self._progress.add(num_bytes)
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


class WriteRecords(beam.PTransform):
    """Groups of items → shards, statistics and rejects in the folders of a job."""

    def __init__(
        self,
        open_processor: Callable[[], GroupProcessor],
        place: WorkPlace,
        shards: "ShardCount",
    ):
        super().__init__()
        self._open_processor = open_processor
        self._place = place
        self._shards = shards

    def expand(self, groups):
        outputs = groups | "Process" >> beam.ParDo(
            ProcessGroups(self._open_processor, self._place)
        ).with_outputs(FACTS, REJECTS, main="staged")
        (
            outputs[FACTS]
            | "CombineFacts" >> beam.CombinePerKey(statistics.CombineFacts())
            | "WriteStatistics" >> beam.ParDo(WriteStatistics(self._place.work))
        )
        (
            outputs[REJECTS]
            | "RejectParts"
            >> beam.Map(lambda reject: (manifest.stable_hash(reject["id"]) % _REJECT_PARTS, reject))
            | "GroupRejects" >> beam.GroupByKey()
            | "WriteRejects" >> beam.ParDo(WriteRejects(self._place.work))
        )
        per_split = outputs.staged | "CountPerSplit" >> beam.combiners.Count.PerKey()
        return (
            outputs.staged
            | "AssignShard" >> beam.ParDo(AssignShard(self._shards), beam.pvalue.AsDict(per_split))
            | "GroupShards" >> beam.GroupByKey()
            | "WriteShards" >> beam.ParDo(WriteShard(self._place.output, self._place.work))
        )


@dataclasses.dataclass(frozen=True)
class ShardCount:
    """How many shards a split has.

    Attributes:
        records_per_shard: records a shard holds, about.
        shards_per_split: the number of shards of every split, instead.
        of_split: the number of shards by split, before either.
    """

    records_per_shard: int = 1024
    shards_per_split: int | None = None
    of_split: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __call__(self, split: str, num_records: int) -> int:
        """Shards of a split with so many records."""
        needed = max(1, -(-num_records // self.records_per_shard))
        return self.of_split.get(split) or self.shards_per_split or needed


class AssignShard(beam.DoFn):
    """(split, staged record) → ((split, shard), staged record), the shard by a stable hash."""

    def __init__(self, shards: ShardCount):
        self._shards = shards

    def process(self, element, records_per_split: dict[str, int]):
        split, staged = element
        total = self._shards(split, records_per_split[split])
        shard = shard_of(StagedRecord(*staged).key, total)
        yield (split, shard, total), staged


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
