"""A run's weights in the forms of others, with an account of every one."""

import dataclasses
import os
import re
from collections.abc import Sequence

import keras
import tensorflow as tf

from mm_models.checkpoints import weight_formats
from mm_models.checkpoints.containers import output_files
from mm_models.checkpoints.key_maps import KeyMap
from mm_models.checkpoints.weight_formats import Output
from mm_models.config_tools import travelling_files
from mm_models.errors import UserError
from trainers import registry, runs
from trainers.config.schema import ExperimentConfig

# Bytes of arrays in one file, where a format writes several.
SHARD_BYTES = 5_000_000_000
# The kind whose model can go along.
_TOKENIZER = "sentencepiece"
_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Written:
    """What an export wrote; `str` is its report.

    Attributes:
        paths: what to open, by the name of each part.
        counts: weights of each part.
        left_out: paths of weights that are in no part, which was allowed.
        step: of the run.
        lacks_tokenizer: whether a tokenizer could have gone along, and the run has none.
    """

    paths: dict[str, str]
    counts: dict[str, int]
    left_out: list[str]
    step: int
    lacks_tokenizer: bool

    def __str__(self) -> str:
        lines = [
            f"wrote {path} ({part}, {self.counts[part]} weights, step {self.step})"
            for part, path in self.paths.items()
        ]
        if self.left_out:
            lines += [f"left out: {len(self.left_out)}", *(f"  {path}" for path in self.left_out)]
        if self.lacks_tokenizer:
            lines.append("no tokenizer goes along: the run reads no text with SentencePiece")
        return "\n".join(lines)


def export_run(
    run: runs.Run,
    target: str,
    output: str,
    *,
    allow: Sequence[str] = (),
    dtype: str = "",
    shard_bytes: int | None = None,
) -> Written:
    """Writes every part of a run's model that a format has keys for.

    Args:
        run: loaded.
        target: one of `registry.weight_formats()`.
        output: path that must not exist; a folder with one entry for each part where the model has
            several.
        allow: regular expressions, searched in the paths of weights that may be left out.
        dtype: see `weight_formats.Output`.
        shard_bytes: see there; None for `SHARD_BYTES`, of a format that writes several files.

    Raises:
        UserError: nothing of the model has such a form, the format has no key for a weight that may
            not be left out, a number does not fit into `dtype`, or `output` exists or cannot be
            written.
    """
    output_files.check_new(output)
    maps = _maps_of(run.model, target)
    left_out = _left_out(run.model, maps, target, allow)
    if shard_bytes and not all(weight_formats.container_of(one).shards for _, one in maps):
        raise UserError(
            f"--shard_size is given, but --to={target} has one file for all; leave it out"
        )
    takes_vocabulary = any(one.takes_vocabulary for _, one in maps)
    vocabulary = _vocabulary(run.config) if takes_vocabulary else b""
    how = Output(run.step, dtype, shard_bytes or SHARD_BYTES, vocabulary)
    if len(maps) == 1:
        part, key_map = maps[0]
        paths = {part.name: weight_formats.write(key_map, part, output, how)}
    else:
        with output_files.appearing(output) as folder:
            tf.io.gfile.makedirs(folder)
            written = {
                part.name: weight_formats.write(key_map, part, os.path.join(folder, part.name), how)
                for part, key_map in maps
            }
        paths = {name: path.replace(folder, output, 1) for name, path in written.items()}
    counts = {part.name: len(weight_formats.known_weights(one, part)) for part, one in maps}
    return Written(paths, counts, left_out, run.step, takes_vocabulary and not vocabulary)


def _maps_of(model: keras.Model, target: str) -> list[tuple[keras.Layer, KeyMap]]:
    """The parts of a model that a format holds, each with its key map."""
    held = [
        (layer, key_map)
        for layer in model._flatten_layers()
        for key_map in registry.key_maps()
        if weight_formats.holds(key_map, layer)
    ]
    found = {}
    for layer, key_map in held:
        if key_map.format == target:
            found.setdefault(id(layer), (layer, key_map))
    if not found:
        others = sorted({key_map.format for _, key_map in held})
        raise UserError(
            f"--to={target} has no keys for any part of this {type(model).__name__}; those of "
            f"{', '.join(others) or 'no format'} are known"
        )
    return list(found.values())


def _left_out(
    model: keras.Model,
    maps: Sequence[tuple[keras.Layer, KeyMap]],
    target: str,
    allow: Sequence[str],
) -> list[str]:
    """Weights that no part of the export holds. Raises UserError for one that no pattern allows."""
    known = [weight_formats.known_weights(key_map, part) for part, key_map in maps]
    held = {id(weight) for weights in known for weight in weights}
    left_out = [weight.path for weight in model.weights if id(weight) not in held]
    lost = [path for path in left_out if not any(re.search(pattern, path) for pattern in allow)]
    if lost:
        more = f" and {len(lost) - _NAMES_SHOWN} more" if len(lost) > _NAMES_SHOWN else ""
        raise UserError(
            f"--to={target} has no keys for {len(lost)} weight(s) of this model: "
            f"{', '.join(lost[:_NAMES_SHOWN])}{more}; leave them out with --allow=PATTERN"
        )
    return left_out


def _vocabulary(config: ExperimentConfig) -> bytes:
    """The run's SentencePiece model, empty where it has none. Raises UserError for several."""
    contents = {}
    for file in travelling_files(config):
        if file.field == "vocabulary" and getattr(file.config, "tokenizer", "") == _TOKENIZER:
            with tf.io.gfile.GFile(file.path, "rb") as opened:
                contents[opened.read()] = file.path
    if len(contents) > 1:
        raise UserError(
            f"the run reads text with several vocabularies ({', '.join(contents.values())}), and "
            "its language model can have one tokenizer; export a run that has one"
        )
    return next(iter(contents), b"")
