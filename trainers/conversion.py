"""Run folders whose weights were trained elsewhere; the way back is `weight_export`."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.checkpoints import mapping, weight_formats
from mm_models.checkpoints.key_maps import KeyMap
from mm_models.errors import UserError
from trainers import registry, runs
from trainers.atomic_files import write_text
from trainers.config.loading import to_yaml
from trainers.config.schema import ExperimentConfig
from trainers.loop import checkpoints, run_folder
from trainers.loop.state import RunState
from trainers.optimization.averages import Averages

REPORT_FILE = "conversion.json"
# What a checkpoint of such a run calls its experiment, so that nobody resumes it by mistake.
IDENTITY_KEY = "converted_from"
_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Imported:
    """Weights that were read from one source.

    Attributes:
        path: the source.
        format: which code base's keys it has.
        part: class of the layer or model that got them.
        step: training step there, 0 where it does not say.
        report: what became of every key.
    """

    path: str
    format: str
    part: str
    step: int
    report: mapping.MappingReport


@dataclasses.dataclass(frozen=True)
class Converted:
    """A run folder that was made; `str` is its report.

    Attributes:
        checkpoint: of the new run.
        imported: one for each source.
        new: paths of weights that no source has, which keep their start.
    """

    checkpoint: str
    imported: list[Imported]
    new: list[str]

    @property
    def step(self) -> int:
        """The latest of the sources' steps."""
        return max(one.step for one in self.imported)

    def __str__(self) -> str:
        lines = [
            f"{one.path}, {one.format} into {one.part}, step {one.step}:\n{one.report}"
            for one in self.imported
        ]
        if self.new:
            shown = [f"  {path}" for path in self.new[:_NAMES_SHOWN]]
            more = len(self.new) - len(shown)
            lines += [f"in no source, as they start: {len(self.new)}", *shown]
            lines += [f"  and {more} more"] if more else []
        return "\n".join(lines)

    def to_json(self) -> str:
        """The text of `conversion.json`, with every name."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


class Opened(NamedTuple):
    """Weights, and whose keys they have."""

    source: mapping.Source
    key_map: KeyMap


def import_run(
    config: ExperimentConfig,
    paths: Sequence[str],
    model_dir: str,
    allow: Sequence[str] = (),
    expected_format: str = "",
) -> Converted:
    """Makes a run folder with weights of public checkpoints.

    It holds what loading needs (config with its vocabulary files, model, averages where the config
    keeps some) and no optimizer: training goes on in a new run that starts from this one
    (`initialize.<name>.model_dir`).

    Args:
        config: experiment whose model the weights are for.
        paths: checkpoints, each for one part of the model; what they are is found out.
        model_dir: folder to make.
        allow: regular expressions for keys that may be missing or left over.
        expected_format: what all of them must be; empty: anything.

    Raises:
        UserError: the folder is a run already, or checkpoints and model do not fit.
    """
    if tf.io.gfile.exists(os.path.join(model_dir, "config.yaml")) or checkpoints.list_steps(
        os.path.join(model_dir, "checkpoints")
    ):
        raise UserError(f"--model_dir={model_dir} holds a run already; name another folder")
    opened = open_sources(paths, expected_format)
    run_folder.check_travelling_files(config)
    task = runs.build_task(config)
    config = dataclasses.replace(config, task=task.config)
    with tf.device("CPU:0"):
        model = runs.build_model(task, config)
        converted = import_weights(model, opened, allow)
        run_folder.check_writable(model_dir)
        averages = runs.build_averages(task, model, config)
        path = _save(model, averages, config, ", ".join(paths), model_dir, converted.step)
    converted = dataclasses.replace(converted, checkpoint=path)
    write_text(os.path.join(model_dir, REPORT_FILE), converted.to_json())
    # Last, because a folder with a config is a run.
    run_folder.write_config(config, model_dir)
    return converted


def open_sources(paths: Sequence[str], expected_format: str = "") -> list[Opened]:
    """Finds out what lies at each path; see `import_run`. Raises UserError."""
    return [_open(path, expected_format) for path in paths]


def _open(path: str, expected_format: str) -> Opened:
    _, source = weight_formats.open_source(path)
    key_map = weight_formats.find(source, registry.key_maps())
    if expected_format and key_map.format != expected_format:
        raise UserError(
            f"--checkpoint={path} is of format {key_map.format}, not {expected_format}; leave "
            "--from out, or name that format"
        )
    return Opened(source, key_map)


def import_weights(
    model: keras.Model, opened: Sequence[Opened], allow: Sequence[str] = ()
) -> Converted:
    """Gives every source's weights to the part of the model that they are for; see `import_run`.

    Returns:
        What was done, without a checkpoint.

    Raises:
        UserError: a source is for no part of the model, for several, for one that another source
            filled, or does not fit it.
    """
    filled: dict[int, str] = {}
    imported = [_import(model, one, allow, filled) for one in opened]
    new = [weight.path for weight in model.weights if id(weight) not in filled]
    return Converted("", imported, new)


def _import(
    model: keras.Model, opened: Opened, allow: Sequence[str], filled: dict[int, str]
) -> Imported:
    """One source of `import_weights`; `filled`: ids of weights that have values, and whose."""
    key_map, part = opened.key_map, _part_for(model, opened)
    weight_formats.check_settings(key_map, part, opened.source)
    source = weight_formats.canonical(key_map, opened.source, part)
    places = weight_formats.places_of(key_map, part, source)
    held = {id(one.variable) for place in places for one in place.parts}
    if others := {filled[weight] for weight in held if weight in filled}:
        raise UserError(
            f"--checkpoint={source.path} and --checkpoint={others.pop()} are both weights of the "
            f"model's {type(part).__name__}; leave one out"
        )
    report = mapping.load(places, source, allow=allow, elsewhere=key_map.elsewhere)
    for place in places:
        if place.key not in report.skipped:
            filled.update((id(one.variable), source.path) for one in place.parts)
    return Imported(source.path, key_map.format, type(part).__name__, source.step, report)


def _part_for(model: keras.Model, opened: Opened) -> keras.Layer:
    wanted = registry.resolve(opened.key_map.part)
    parts = [layer for layer in model._flatten_layers() if isinstance(layer, wanted)]
    if len(parts) == 1:
        return parts[0]
    has = "has none" if not parts else f"has {len(parts)}, which nothing tells apart"
    raise UserError(
        f"{opened.source.path} ({opened.key_map.format}) holds the weights of a "
        f"{wanted.__name__}, of which the model of --config_file {has}; give the config of a model "
        "with one"
    )


def _save(
    model: keras.Model,
    averages: Averages | None,
    config: ExperimentConfig,
    source: str,
    model_dir: str,
    step: int,
) -> str:
    """Writes what `runs.restore_weights` reads, and an identity that no experiment has."""
    parts = {} if averages is None else {"ema": averages.saved}
    checkpoint = tf.train.Checkpoint(
        model=model,
        step=tf.Variable(step, dtype=tf.int64, trainable=False),
        state=RunState({IDENTITY_KEY: source}, to_yaml(config), config.trainer.seed),
        **parts,
    )
    folder = os.path.join(model_dir, "checkpoints")
    manager = tf.train.CheckpointManager(
        checkpoint, folder, max_to_keep=None, checkpoint_name=checkpoints.NAME
    )
    return manager.save(checkpoint_number=step)
