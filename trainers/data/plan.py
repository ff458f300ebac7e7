"""What a stream will read, in words, and the identity of its order."""

import dataclasses
import hashlib
import json

from mm_models.text.tokenizers import build_tokenizer
from trainers.data.config import InputConfig, PromptedInputConfig
from trainers.data.reading.index import RecordIndex
from trainers.data.parts.prompted.measure import PromptedPlan, measure
from trainers.data.parts.prompted.sources import open_sources
from trainers.data.stored_media import open_indexes
from trainers.data.validation import validate


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """One data set of a stream.

    Attributes:
        name, path, split: as configured.
        num_records, num_shards: what is read.
        share: share of the stream's examples.
        steps_per_epoch: steps until each of its records was read once.
    """

    name: str
    path: str
    split: str
    num_records: int
    num_shards: int
    share: float
    steps_per_epoch: float


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """What a stream reads; `str` gives it as lines of text.

    Attributes:
        datasets: one entry per data set.
        batch_size: global batch size.
        shapes: tensor name to the shape and dtype of one global batch.
        batch_bytes: size of one global batch.
        vocabulary_size: token ids, or None without text.
        prompted: tasks and padding of prompted inputs, else None.
    """

    datasets: list[DatasetPlan]
    batch_size: int
    shapes: dict[str, str]
    batch_bytes: int
    vocabulary_size: int | None
    prompted: PromptedPlan | None = None

    def __str__(self) -> str:
        """A line per data set and per tensor."""
        lines = [
            f"data set {each.name}: {each.num_records:,} records in {each.num_shards} shards of "
            f"{each.path} ({each.split}), {each.share:.1%} of the examples, "
            f"{each.steps_per_epoch:,.1f} steps per epoch"
            for each in self.datasets
        ]
        lines += [f"  {name}: {shape}" for name, shape in self.shapes.items()]
        lines.append(f"  batch of {self.batch_size}: {self.batch_bytes / 2**20:,.1f} MiB")
        if self.vocabulary_size is not None:
            lines.append(f"  vocabulary: {self.vocabulary_size:,} ids")
        if self.prompted is not None:
            lines.append(str(self.prompted))
        return "\n".join(lines)


def plan(input_config: InputConfig, name: str = "input") -> DataPlan:
    """Opens everything a stream needs and says what it will read. Writes nothing.

    Args:
        input_config: one stream's or evaluator's input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: a wrong field, a missing or empty split, a vocabulary that cannot be read, a
            wrong sample rate, frames too small.
    """
    validate(input_config, name)
    indexes = open_indexes(input_config, name)
    vocabulary_size = None
    if input_config.text is not None:
        text = input_config.text
        vocabulary_size = build_tokenizer(text.tokenizer, text.vocabulary).vocabulary_size
    prompted = shares = None
    if input_config.prompted is not None:
        sources = open_sources(input_config, indexes, name)
        prompted = measure(sources, indexes)
        vocabulary_size = sources.tokenizer.vocabulary_size
        shares = [0.0] * len(indexes)
        for source in sources.sources:
            shares[source.dataset] += source.weight
    shapes = batch_shapes(input_config)
    return DataPlan(
        datasets=_dataset_plans(input_config, indexes, shares),
        batch_size=input_config.batch_size,
        shapes={tensor: f"{dtype}{list(shape)}" for tensor, (dtype, shape) in shapes.items()},
        batch_bytes=sum(_num_bytes(dtype, shape) for dtype, shape in shapes.values()),
        vocabulary_size=vocabulary_size,
        prompted=prompted,
    )


def input_fingerprint(input_config: InputConfig) -> str:
    """A hash of what defines the order of examples; equal hashes resume exactly.

    It covers the names, weights, shares and shards (files and sizes, not folders) of the data sets,
    the batch size, and the mixture of tasks. Folders may move, and sampling and decoding may
    change, without touching the order.

    Raises:
        UserError: as `plan` does.
    """
    validate(input_config)
    datasets = {}
    indexes = open_indexes(input_config)
    for (name, dataset), index in zip(input_config.datasets.items(), indexes, strict=True):
        shards = [
            (shard.path.rsplit("/", 1)[-1], shard.num_records, int(shard.offsets[-1]))
            for shard in index.shards
        ]
        datasets[name] = {"weight": float(dataset.weight), "shards": shards}
        # Only where it matters, so that runs from before there were shares resume.
        if dataset.share < 1:
            datasets[name]["share"] = [float(dataset.share), dataset.share_seed]
    content = {"batch_size": input_config.batch_size, "datasets": list(datasets.items())}
    if input_config.prompted is not None:
        content["prompted"] = _prompted_order(input_config.prompted)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _prompted_order(prompted: PromptedInputConfig) -> dict:
    """What decides which record and task stands where."""
    fields = ("mixing", "scale", "maximum", "temperature", "examples_per_row")
    tasks = [[name, float(task.rate), task.datasets] for name, task in prompted.tasks.items()]
    return {"tasks": tasks} | {field: getattr(prompted, field) for field in fields}


def _dataset_plans(
    config: InputConfig, indexes: list[RecordIndex], shares: list[float] | None
) -> list[DatasetPlan]:
    """`shares` are those of the batch's rows; None follows the data sets' weights."""
    if shares is None:
        total = sum(dataset.weight for dataset in config.datasets.values())
        shares = [dataset.weight / total for dataset in config.datasets.values()]
    examples = config.batch_size
    if config.prompted is not None:
        examples *= config.prompted.examples_per_row
    plans = []
    for (name, dataset), index, share in zip(config.datasets.items(), indexes, shares, strict=True):
        steps = index.num_records / (examples * share) if share else float("inf")
        plans.append(
            DatasetPlan(
                name,
                dataset.path,
                dataset.split,
                index.num_records,
                len(index.shards),
                share,
                steps,
            )
        )
    return plans


def batch_shapes(config: InputConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor of a global batch."""
    batch = (config.batch_size,)
    views = (config.num_views,) if config.num_views > 1 else ()
    shapes = {}
    if config.video is not None:
        video = config.video
        size = (video.num_frames, video.height, video.width, 3)
        shapes["video"] = ("float32", batch + views + size)
    if config.audio is not None:
        shapes["audio"] = ("float32", batch + views + (config.audio.num_samples,))
    if config.text is not None:
        candidates = batch + (config.text.num_candidates,)
        shapes["text"] = ("int32", candidates + (config.text.num_tokens,))
        shapes["text_candidate_mask"] = ("float32", candidates)
    if config.prompted is not None:
        shapes |= _prompted_shapes(config.prompted, config.batch_size)
    if config.num_labels:
        shapes["label"] = ("int32", batch + (config.num_labels,))
    for name in ("video", "audio", "text"):
        if name in shapes:
            shapes[f"{name}_mask"] = ("float32", batch)
    return shapes | {"example_id": ("int64", batch), "example_mask": ("float32", batch)}


def _prompted_shapes(
    prompted: PromptedInputConfig, batch_size: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    rows = ("int32", (batch_size,))
    shapes = dict.fromkeys(("task", "language", "example_item"), rows)
    for name in ("input", "target"):
        ids = ("int32", (batch_size, getattr(prompted, f"num_{name}_tokens")))
        shapes[f"{name}s"] = ids
        if prompted.examples_per_row > 1:
            shapes |= dict.fromkeys((f"{name}_segments", f"{name}_positions"), ids)
    return shapes


def _num_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    size = int(dtype[-2:]) // 8
    for length in shape:
        size *= length
    return size
