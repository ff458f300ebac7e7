"""From serialized records to one batch of model inputs; runs as a graph on the host."""

import os
from collections.abc import Mapping

import tensorflow as tf

from trainers.data.parts.base import InputPart, Parsed
from trainers.data.reading.parse import Parser
from trainers.data.reading.reader import RawBatch


class BatchProcessor:
    """Parses one batch and has the parts make tensors of it."""

    def __init__(self, parts: Mapping[str, InputPart], parser: Parser | None, batch_size: int):
        """Takes opened parts; `parser` is None where none of them wants anything of a record."""
        self._parts = parts
        self._parser = parser
        self._batch_size = batch_size

    def __call__(self, raw: RawBatch) -> dict[str, tf.Tensor]:
        """The batch of `raw`; see `trainers.data.pipeline.build_train_dataset`."""
        parsed = self._parser(raw.serialized, raw.dataset) if self._parser is not None else {}
        batch: dict[str, tf.Tensor] = {}
        examples: dict[str, dict[str, tf.Tensor]] = {}
        specs: dict[str, tf.TensorSpec] = {}
        for name, part in self._parts.items():
            prepared = part.prepare(parsed, raw)
            batch |= prepared.batch
            if prepared.examples:
                examples[name] = prepared.examples
                specs |= part.specs(self._batch_size)
        left = {name: spec for name, spec in specs.items() if name not in batch}
        if left:
            batch |= self._decode_each(parsed, raw, examples, left)
        batch["example_id"] = raw.example_id
        batch["example_mask"] = tf.cast(raw.dataset >= 0, tf.float32)
        return batch

    def _decode_each(
        self, parsed: Parsed, raw: RawBatch, examples: dict, specs: dict[str, tf.TensorSpec]
    ) -> dict[str, tf.Tensor]:
        """The tensors of `specs`, made example by example, several at a time."""
        signature = {
            name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in specs.items()
        }

        def decode(row: tuple) -> dict[str, tf.Tensor]:
            draws, seed, each = row
            found: dict[str, tf.Tensor] = {}
            for name, example in each.items():
                found |= self._parts[name].decode(example, draws, seed, parsed)
            # A single view has no axis of its own.
            return {name: tf.reshape(found[name], one.shape) for name, one in signature.items()}

        decoded = tf.map_fn(
            decode,
            (raw.draws, raw.seeds, examples),
            fn_output_signature=signature,
            parallel_iterations=1 if tf.executing_eagerly() else os.cpu_count() or 1,
        )
        return {name: tf.ensure_shape(decoded[name], spec.shape) for name, spec in specs.items()}
