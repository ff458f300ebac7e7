"""What signatures of models that write share: options, method, the written rows."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import Field
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.contracts import Writes
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.decoding.state import Decoded, best
from mm_models.errors import UserError

BY_METHOD = {
    "greedy": "the likeliest token each time",
    "sample": "drawing every token",
    "beam": "the best of several beams",
}


def decoding_of(info: ModelInfo) -> DecodingConfig:
    """How texts are written."""
    return DecodingConfig(**(info.decoding or {}))


def with_options(info: ModelInfo, options: ExportOptions) -> ModelInfo:
    """Facts of an export of a model that writes, with what it was told taken on.

    Raises:
        UserError: options that do not go together, or a decoding that cannot work.
    """
    if options.jit_compile and not options.batch_size:
        raise UserError(
            "--jit_compile compiles for one number of rows, and would compile again in the "
            "midst of serving for any other; give --batch_size too"
        )
    decoding = DecodingConfig(**{**(info.decoding or {}), **options.decoding})
    decoding.check("--decoding")
    return dataclasses.replace(
        info,
        batch_size=options.batch_size,
        decoding=dataclasses.asdict(decoding),
        jit_compile=options.jit_compile,
    )


def seed_fields(config: DecodingConfig) -> dict[str, Field]:
    """The input `seed` of a method that draws; none of others."""
    if config.method != "sample":
        return {}
    meaning = "what the draws of a row follow from; any number"
    return {"seed": fields.input_field(fields.SEED, meaning)}


def meaning_of_scores(config: DecodingConfig) -> str:
    """What the score of a written text is, in words."""
    return PENALISED if config.method == "beam" else "log probability"


PENALISED = "log probability, divided by a penalty of its length"


def write(
    model: Writes,
    inputs: Mapping[str, tf.Tensor],
    info: ModelInfo,
    *,
    all_beams: bool = False,
    seed: tf.Tensor | None = None,
) -> Decoded:
    """What the model writes about each row.

    Args:
        model: with trained weights.
        inputs: by name, with leading axis batch.
        info: says how, and whether the loop is compiled.
        all_beams: search with beams whatever the method, and keep all of them.
        seed: int32[batch] of each row, for methods that draw, or None.
    """
    config = decoding_of(info)
    keep: Callable[[Decoded], Decoded] = best
    if all_beams:
        config, keep = dataclasses.replace(config, method="beam"), _all
    if seed is not None:
        # A row's draws are those of its own seed: [batch] -> [batch, 2]
        seed = tf.stack([seed, tf.zeros_like(seed)], axis=1)

    def run(inputs: Mapping[str, tf.Tensor], seed: tf.Tensor | None) -> Decoded:
        state = model.start_decoding(inputs, config.max_length, config.beams)
        num_rows = tf.shape(next(iter(inputs.values())))[0]
        starts = tf.fill([num_rows], model.start_id)
        return keep(decode(config, model.decode_step, state, starts, model.end_id, seed))

    if info.jit_compile and tf.inside_function():
        run = tf.function(run, autograph=False, jit_compile=True)
    return run(inputs, seed)


def _all(decoded: Decoded) -> Decoded:
    return decoded
