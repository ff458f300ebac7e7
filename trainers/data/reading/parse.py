"""Serialized records to ragged tensors, a whole batch at a time."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which of our keys to read; `first | second` reads what either wants.

    Attributes:
        context: key to dtype, read from the record's context.
        lists: key to dtype, read from the record's feature lists.
        either: key to dtype, read from wherever they are: a plain `Example` has no lists.
    """

    context: Mapping[str, tf.DType] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, tf.DType] = dataclasses.field(default_factory=dict)
    either: Mapping[str, tf.DType] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "Wanted") -> "Wanted":
        context, lists = {**self.context, **other.context}, {**self.lists, **other.lists}
        return Wanted(context, lists, {**self.either, **other.either})

    def __bool__(self) -> bool:
        return bool(self.dtypes)

    @property
    def dtypes(self) -> dict[str, tf.DType]:
        """Every key that is wanted, wherever it is."""
        return {**self.context, **self.lists, **self.either}


class Parser:
    """Parses batches whose rows may come from data sets that name their features differently."""

    def __init__(self, wanted_keys: Wanted, feature_names: list[dict[str, str]]):
        """Takes the keys to read and each data set's renamed keys."""
        self._wanted = wanted_keys
        self._groups: list[dict[str, str]] = []
        self._group_of_dataset = []
        for names in feature_names:
            if names not in self._groups:
                self._groups.append(names)
            self._group_of_dataset.append(self._groups.index(names))

    def __call__(self, serialized: tf.Tensor, dataset: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Parses one batch.

        Args:
            serialized: string[batch] records; an empty string is a record without content.
            dataset: int32[batch] data set of each row, -1 for padding.

        Returns:
            Our key to ragged dtype[batch, (values)].

        Raises:
            tf.errors.InvalidArgumentError: bytes that are no record, or a key of another dtype.
        """
        if len(self._groups) == 1:
            return _parse(serialized, self._groups[0], self._wanted)
        groups = tf.gather(self._group_of_dataset, tf.maximum(dataset, 0))
        count = len(self._groups)
        parts = tf.dynamic_partition(serialized, groups, count)
        rows = tf.dynamic_partition(tf.range(tf.size(serialized)), groups, count)
        parsed = [
            _parse(part, names, self._wanted)
            for part, names in zip(parts, self._groups, strict=True)
        ]
        order = tf.argsort(tf.concat(rows, 0))
        return {
            key: tf.gather(tf.concat([features[key] for features in parsed], 0), order)
            for key in parsed[0]
        }


def _parse(
    serialized: tf.Tensor, names: dict[str, str], keys: Wanted
) -> dict[str, tf.RaggedTensor]:
    context = {key: _ragged(names, key, dtype) for key, dtype in keys.context.items()}
    lists = {key: _ragged(names, key, dtype) for key, dtype in keys.lists.items()}
    for key, dtype in keys.either.items():
        context[key] = lists[key] = _ragged(names, key, dtype)
    found_context, found_lists, _ = tf.io.parse_sequence_example(serialized, context, lists)
    flat_lists = {key: value.merge_dims(1, 2) for key, value in found_lists.items()}
    for key in keys.either:
        flat_lists[key] = tf.concat([flat_lists[key], found_context.pop(key)], axis=1)
    return found_context | flat_lists


def _ragged(names: dict[str, str], key: str, dtype: tf.DType) -> tf.io.RaggedFeature:
    return tf.io.RaggedFeature(dtype, value_key=names.get(key, key), row_splits_dtype=tf.int64)


def scalar(values: tf.RaggedTensor) -> tf.Tensor:
    """The first value of each row, zero where there is none: dtype[batch]."""
    return values.to_tensor(shape=[None, 1])[:, 0]
