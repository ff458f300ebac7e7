"""The batching parameters file that TensorFlow Serving reads, also read by the embedded server."""

import dataclasses
import re

from mm_models.errors import UserError

_SIZES = "allowed_batch_sizes"
_FIELD = re.compile(r"(\w+)\s*(?:\{\s*value\s*:\s*(\w+)\s*\}|:\s*(\w+))")


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged along axis 0.

    Attributes:
        max_batch_size: rows in one call of the graph.
        batch_timeout_micros: how long a request waits for company; 0 merges only what already
            waits.
        max_enqueued_batches: bound on waiting requests, in full batches.
        num_batch_threads: calls of the graph at the same time.
        allowed_batch_sizes: rows that a call may have, growing, the last one `max_batch_size`; a
            server fills calls up to the next of them. None: any number.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 64
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()

    def to_text(self) -> str:
        """Text format of `tensorflow.serving.BatchingParameters`."""
        values = dataclasses.asdict(self)
        sizes = values.pop(_SIZES)
        lines = [f"{name} {{ value: {value} }}\n" for name, value in values.items()]
        return "".join([*lines, *(f"{_SIZES}: {size}\n" for size in sizes)])

    @classmethod
    def from_text(cls, text: str, where: str) -> "BatchingParameters":
        """Parses the text format. Raises UserError for unknown fields and values too low."""
        values: dict[str, int] = {}
        sizes = []
        for name, wrapped, plain in _FIELD.findall(re.sub(r"#.*", "", text)):
            if name not in {field.name for field in dataclasses.fields(cls)}:
                raise UserError(f"{where}: unknown batching parameter {name!r}")
            value = wrapped or plain
            minimum = 0 if name == "batch_timeout_micros" else 1
            if not value.isdecimal() or int(value) < minimum:
                raise UserError(f"{where}: {name} is {value}, it must be at least {minimum}")
            if name == _SIZES:
                sizes.append(int(value))
            else:
                values[name] = int(value)
        parameters = cls(**values, allowed_batch_sizes=tuple(sizes))
        if sizes and (sizes != sorted(set(sizes)) or sizes[-1] != parameters.max_batch_size):
            raise UserError(
                f"{where}: {_SIZES} are {sizes}; they must grow, and the last one must be "
                f"max_batch_size, which is {parameters.max_batch_size}"
            )
        return parameters
