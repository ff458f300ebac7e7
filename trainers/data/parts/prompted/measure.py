"""How full the rows of a prompted input are, measured on examples."""

import dataclasses

import numpy as np
import tensorflow as tf

from trainers.data.order.example_order import TrainingOrder
from trainers.data.order.mixture import MixtureBlock
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.prompted.processing import PromptProcessor
from trainers.data.parts.prompted.reader import PromptBatchReader, RawPrompts
from trainers.data.parts.prompted.sources import PromptedSources
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import RawBatch, Slice

MEASURED_ROWS = 256


@dataclasses.dataclass(frozen=True)
class TaskFill:
    """Rows of one task.

    Attributes:
        name: of the task.
        share: share of the rows that the mixture gives it.
        num_rows: rows measured.
        inputs, targets: ids in use of a row, on average.
        cut_share: examples whose input or target was cut.
        examples: examples of a row, on average.
    """

    name: str
    share: float
    num_rows: int
    inputs: float
    targets: float
    cut_share: float
    examples: float


@dataclasses.dataclass(frozen=True)
class PromptedPlan:
    """What the rows hold; `str` gives it as lines of text.

    Attributes:
        config: of the input.
        vocabulary_size: ids of the tokenizer.
        tasks: one entry per task.
        input_waste, target_waste: share of the ids that are padding.
    """

    config: PromptedInputConfig
    vocabulary_size: int
    tasks: list[TaskFill]
    input_waste: float
    target_waste: float

    def __str__(self) -> str:
        """The vocabulary, a line per task, and the padding."""
        config, lines = self.config, [f"  vocabulary: {self.vocabulary_size:,} ids"]
        for task in self.tasks:
            if not task.num_rows:
                lines.append(f"  task {task.name}: {task.share:.2%} of the rows, none measured")
                continue
            several = f"{task.examples:.1f} examples, " if config.examples_per_row > 1 else ""
            lines.append(
                f"  task {task.name}: {task.share:.2%} of the rows; {several}"
                f"{task.inputs:.1f} of {config.num_input_tokens} input ids and {task.targets:.1f} "
                f"of {config.num_target_tokens} target ids in use, {task.cut_share:.1%} of the "
                "examples cut"
            )
        lines.append(
            f"  padding: {self.input_waste:.1%} of the input ids and {self.target_waste:.1%} of the"
            f" target ids, measured on {MEASURED_ROWS} rows"
        )
        return "\n".join(lines)


def measure(sources: PromptedSources, indexes: list[RecordIndex]) -> PromptedPlan:
    """Reads and tokenises some rows as a training run of seed 0 would. Raises UserError as that
    does."""
    config = sources.config.prompted
    datasets = list(sources.config.datasets.values())
    weights = [source.weight for source in sources.sources]
    sizes = [source.num_records for source in sources.sources]
    order = TrainingOrder(sizes, MixtureBlock(weights), MEASURED_ROWS, seed=0)
    loader, rows = RecordLoader(indexes, datasets), Slice(0, 1, MEASURED_ROWS)
    raw = PromptBatchReader(sources, loader, order, rows, seed=0).read(0)
    process = PromptProcessor(config, sources.templates, sources.tokenizer)
    batch = process(RawPrompts(*map(tf.constant, raw.extra)), tf.constant(raw.seeds))
    fills = _fills(sources, raw, batch, _cut(sources, raw, process.longest_text))
    wastes = [float((batch[name].numpy() == 0).mean()) for name in ("inputs", "targets")]
    return PromptedPlan(config, sources.tokenizer.vocabulary_size, fills, *wastes)


def _fills(sources: PromptedSources, raw: RawBatch, batch: dict, cut: np.ndarray) -> list[TaskFill]:
    shares = np.zeros(len(sources.builders))
    for source in sources.sources:
        shares[source.task] += source.weight
    used = {name: (batch[name].numpy() != 0).sum(axis=1) for name in ("inputs", "targets")}
    examples = np.ones(len(used["inputs"]))
    if "input_segments" in batch:
        starts = batch["input_positions"].numpy() == 0
        examples = (starts & (batch["inputs"].numpy() != 0)).sum(axis=1)
    fills = []
    for number, builder in enumerate(sources.builders):
        rows = raw.extra.task == number
        means = [
            float(values[rows].mean()) if rows.any() else 0.0
            for values in (used["inputs"], used["targets"], cut, examples)
        ]
        fills.append(TaskFill(builder.name, float(shares[number]), int(rows.sum()), *means))
    return fills


def _cut(sources: PromptedSources, raw: RawBatch, longest_text: int) -> np.ndarray:
    """float64[rows]: share of each row's examples that are longer than a row."""
    config = sources.config.prompted
    limits = (config.num_input_tokens - 1, config.num_target_tokens - 1)
    too_long = np.zeros(raw.extra.inputs.shape, bool)
    corrupts = np.array([builder.template.corrupts for builder in sources.builders])
    for texts, limit in zip((raw.extra.inputs, raw.extra.targets), limits, strict=True):
        lengths = sources.tokenizer.ragged(tf.constant(texts.ravel())).row_lengths().numpy()
        allowed = np.where(corrupts[raw.extra.task], longest_text, limit)
        too_long |= lengths.reshape(texts.shape) > allowed[:, np.newaxis]
    return too_long.mean(axis=1)
