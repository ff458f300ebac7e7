"""Class names and label columns shared by the evaluators that classify."""

import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from trainers.data.config import InputConfig

DATASET_INFO = "dataset_info.json"


def class_names(names: Sequence[str], input_config: InputConfig) -> list[str]:
    """The configured names; where there are none, `labels` of the first data set that lists some.

    Raises UserError when neither gives a name.
    """
    for found in [list(names), *dataset_labels(input_config).values()]:
        if found:
            return found
    raise UserError(
        "class_names of the evaluator is empty and no data set lists labels in its "
        f"{DATASET_INFO}; name the classes in the evaluator's class_names"
    )


def dataset_labels(input_config: InputConfig) -> dict[str, list[str]]:
    """`labels` of the `dataset_info.json` of each data set that lists some, by its name."""
    found = {}
    for name, dataset in input_config.datasets.items():
        path = tf.io.gfile.join(dataset.path, DATASET_INFO)
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file:
                names = json.load(file).get("labels", [])
            if names:
                found[name] = list(names)
    return found


def require_labels(input_config: InputConfig, evaluator_name: str) -> None:
    """Raises UserError unless the input reads labels."""
    if input_config.labels is None:
        raise UserError(
            f"evaluators.{evaluator_name}.input.labels is null, but the evaluator compares with "
            "labels; read them, such as {num_labels: 1}"
        )


def chance(num_classes: int) -> dict[str, float]:
    """Scores of guesses among so many classes."""
    return {f"top{k}": min(1.0, k / num_classes) for k in (1, 5)}


def merge_same_names(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Different names in the order of their first place, and int32[names] which one each is."""
    different = list(dict.fromkeys(names))
    place = {name: number for number, name in enumerate(different)}
    return different, np.array([place[name] for name in names], np.int32)


def renumber(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Label columns with every class `c` written as `numbers[c]`; repeats become padding.

    Args:
        labels: int32[examples, labels] padded with -1.
        numbers: int32[classes].

    Raises:
        UserError: a label that has no number.
    """
    highest = int(labels.max(initial=-1))
    if highest >= len(numbers):
        raise UserError(
            f"an example has class {highest}, but only {len(numbers)} classes are named, counted "
            "from 0; name them all in the evaluator's class_names"
        )
    changed = np.where(labels >= 0, numbers[np.maximum(labels, 0)], -1).astype(np.int32)
    for column in range(1, changed.shape[1]):
        repeated = (changed[:, :column] == changed[:, column : column + 1]).any(axis=1)
        changed[repeated, column] = -1
    return changed


def single_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[rows] indices of rows with exactly one label, and int64[rows] that label.

    Args:
        labels: int32[examples, labels] padded with -1.
    """
    rows = np.flatnonzero((labels >= 0).sum(axis=1) == 1)
    return rows, labels[rows].max(axis=1).astype(np.int64)


def positives(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """int32[examples, labels] padded with -1 → bool[examples, classes]."""
    matrix = np.zeros((len(labels), num_classes), bool)
    rows, columns = np.nonzero(labels >= 0)
    matrix[rows, labels[rows, columns]] = True
    return matrix
