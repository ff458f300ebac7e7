"""What an export can be told beyond its run; imports no TensorFlow."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mm_models.decoding.config import DecodingConfig
from mm_models.errors import UserError

# Options of one method, which would do nothing with another.
_OF_SAMPLING = ("temperature", "top_k", "top_p")
_KINDS = {int: "a whole number", float: "a number", str: "text"}


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How a run's signatures are made.

    Attributes:
        batch_size: rows of every call of a signature; 0 takes any number of them.
        decoding: fields of DecodingConfig, for models that write.
        jit_compile: compile the loop that writes a text with XLA; of models that write.
        encoder: SavedModel by which media become the features that the model learned from, of
            models that learn from those; empty for none.
    """

    batch_size: int = 0
    jit_compile: bool = False
    decoding: dict[str, Any] = dataclasses.field(default_factory=dict)
    encoder: str = ""


def add_run_arguments(parser: Any) -> None:
    """Adds the flags that say which run's checkpoint is taken and how it writes, the last of which
    `decoding_fields` reads."""
    parser.add_argument("--model_dir", required=True, help="run folder of `mmstack train`")
    parser.add_argument(
        "--checkpoint", default="latest", help="`latest`, `best`, or a checkpoint's path"
    )
    parser.add_argument(
        "--frame_rate_hz",
        type=float,
        help="rate of the stored frames; default: what dataset_info.json of the records says",
    )
    parser.add_argument(
        "--encoder",
        default="",
        help="of a model that learned from features: the encoder they were made with "
        "(`mmstack features`), which then makes them of media",
    )
    parser.add_argument(
        "--decoding",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how a model writes: method (greedy, sample, beam), max_length, min_length, "
        "no_repeat_ngram, num_beams, length_penalty (t5x, plain, none), alpha, temperature, "
        "top_k, top_p; may be repeated",
    )


def decoding_fields(given: Sequence[str]) -> dict[str, Any]:
    """Fields of DecodingConfig by name, of `name=value`s.

    Raises:
        UserError: an unknown name, a value of another type or out of range, or an option that the
            method does not look at.
    """
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(DecodingConfig)}
    fields: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in kinds or not equals:
            raise UserError(
                f"--decoding={text} names none of {', '.join(kinds)}; write one of them, `=` and "
                "its value"
            )
        try:
            fields[name] = kinds[name](value)
        except ValueError:
            raise UserError(
                f"--decoding={text}: {name} is {_KINDS[kinds[name]]}, write such a value"
            ) from None
    config = DecodingConfig(**fields)
    config.check("--decoding")
    idle = [name for name in _OF_SAMPLING if name in fields and config.method != "sample"]
    if idle:
        raise UserError(
            f"--decoding={idle[0]}=... matters to sampling alone; give --decoding=method=sample too"
        )
    return fields
