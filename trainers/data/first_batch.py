"""What the first records and the first batch of an input must hold, before anything is compiled.

Two looks. Records spread over every data set go through the parser and the `prepare` of each part,
which says which of them have it; what none has is refused, with what the records hold instead. Some
rows of the first batch then go the whole way, through the operations of the step.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from trainers.data import pipeline
from trainers.data.config import InputConfig
from trainers.data.first_records import MOST_SAMPLED, look, raise_faults
from trainers.data.opening import OpenedInput, open_indexes
from trainers.data.reading.errors import user_errors
from trainers.data.validation import validate

_ROWS = 8


def check_input(
    config: InputConfig,
    name: str = "input",
    *,
    seed: int = 0,
    training: bool = True,
    num_classes: int = 0,
) -> list[str]:
    """Looks at the first records and the first batch of an input.

    Args:
        config: one stream's or evaluator's input.
        name: where it stands in the experiment's configuration, for messages.
        seed: experiment seed.
        training: whether batches are for training, else for evaluation.
        num_classes: classes that labels may name; 0 where that is not known.

    Returns:
        Lines for people: what each data set has of each part, and what each part says of the batch.

    Raises:
        UserError: records without a part of the input, a mapped key or anything that a filter
            keeps, of another content than is read, or a batch of which nothing can be learned.
    """
    validate(config, name)
    few = _narrowed(config, name, training=training)
    opened = OpenedInput.open(few, name, seed=seed, training=training)
    lines = []
    for place in range(len(opened.indexes)):
        lines += look(opened, name, place, num_classes)
    return lines + _first_batch(opened, seed, num_classes, training=training)


def _narrowed(config: InputConfig, name: str, *, training: bool) -> InputConfig:
    """Few rows; in evaluation, whose parts may read every record, few records too."""
    few = dataclasses.replace(config, batch_size=min(config.batch_size, _ROWS))
    if training:
        return few
    datasets = {}
    pairs = zip(config.datasets.items(), open_indexes(config, name), strict=True)
    for (key, dataset), index in pairs:
        share = dataset.share * min(1.0, MOST_SAMPLED / index.num_records)
        datasets[key] = dataclasses.replace(dataset, share=share)
    return dataclasses.replace(few, datasets=datasets)


def _first_batch(opened: OpenedInput, seed: int, num_classes: int, *, training: bool) -> list[str]:
    """Lines about some rows, which went through the operations of the step. Raises UserError."""
    with user_errors(), tf.device("CPU:0"):
        batch = pipeline.read_batch(opened, seed=seed, training=training)
    # Padding stands behind the examples.
    rows = int(batch["example_mask"].sum())
    batch = {name: values[:rows] for name, values in batch.items()}
    repeats = 1 - len(np.unique(batch["example_id"])) / rows
    lines = [f"  first {rows} rows: {repeats:.0%} repeat another one of them"]
    for part in opened.parts.values():
        raise_faults(part, batch, num_classes, f"the first {rows} rows")
        facts = ", ".join(f"{words} {value:.4g}" for words, value in part.facts(batch).items())
        lines += [f"  {part.name} of {rows} rows: {facts}"] if facts else []
    return lines
