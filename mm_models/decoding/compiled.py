"""One compiled graph per length: buckets for prompts and results, each traced once."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from mm_models.decoding.state import Decoded
from mm_models.errors import UserError

# (inputs, max_length, limit int32[]) -> Decoded of that max_length
DecodeFunction = Callable[[Mapping[str, tf.Tensor], int, tf.Tensor], Decoded]


def pick_bucket(length: int, buckets: Sequence[int], field: str) -> int:
    """The smallest bucket that holds `length`.

    Raises:
        UserError: none does.
    """
    fitting = [bucket for bucket in buckets if bucket >= length]
    if not fitting:
        raise UserError(
            f"{field} has length {length}, but the longest bucket is {max(buckets)}; shorten it or "
            "add a bucket"
        )
    return min(fitting)


class CompiledDecoder:
    """Calls a decoding function with static shapes, compiled once for each that occurs.

    Args:
        decode: reads the inputs and writes ids; it holds `max_length` places and stops after
            `limit` ids, which may be fewer and do not need a graph of their own.
        output_buckets: lengths of results that graphs are made for.
        input_buckets: by the name of an input whose axis 1 is a length (0 pads), the lengths it is
            padded to. Other inputs keep their shape.
        jit_compile: compile with XLA.
    """

    def __init__(
        self,
        decode: DecodeFunction,
        *,
        output_buckets: Sequence[int],
        input_buckets: Mapping[str, Sequence[int]] | None = None,
        jit_compile: bool,
    ):
        self._decode = decode
        self._output_buckets = tuple(output_buckets)
        self._input_buckets = dict(input_buckets or {})
        self._jit_compile = jit_compile
        self._functions = {}

    def __call__(self, inputs: Mapping[str, tf.Tensor], max_length: int) -> Decoded:
        """Writes at most `max_length` ids per row, the same as a graph of that very length.

        Args:
            inputs: what `decode` reads, with leading axis batch.
            max_length: at most the longest output bucket.

        Returns:
            Decoded with `max_length` places.

        Raises:
            UserError: an input or `max_length` is longer than every bucket.
            RuntimeError: a graph was traced more than once.
        """
        places = pick_bucket(max_length, self._output_buckets, "the result")
        inputs = {name: self._padded(name, value) for name, value in inputs.items()}
        function = self._function(inputs, places)
        decoded = function(inputs, tf.constant(max_length))
        if (count := function.experimental_get_tracing_count()) != 1:
            raise RuntimeError(f"the graph of result bucket {places} was traced {count} times")
        return decoded._replace(ids=decoded.ids[..., :max_length])

    def trace_counts(self) -> dict[tuple, int]:
        """How often each graph was traced, by result bucket and shapes of the inputs."""
        return {
            key: function.experimental_get_tracing_count()
            for key, function in self._functions.items()
        }

    def _padded(self, name, value):
        value = tf.convert_to_tensor(value)
        if name not in self._input_buckets:
            return value
        length = value.shape[1]
        bucket = pick_bucket(length, self._input_buckets[name], f"input {name!r}")
        return tf.pad(value, [[0, 0], [0, bucket - length]] + [[0, 0]] * (value.shape.rank - 2))

    def _function(self, inputs, places):
        shapes = ((name, value.dtype.name, *value.shape) for name, value in sorted(inputs.items()))
        key = (places, *shapes)
        if key not in self._functions:
            self._functions[key] = tf.function(
                lambda inputs, limit: self._decode(inputs, places, limit),
                jit_compile=self._jit_compile,
                autograph=False,
            )
        return self._functions[key]
