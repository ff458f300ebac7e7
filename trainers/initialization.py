"""Starting a new run from another run's weights, with an account of what fitted and what did not.

Variables are matched by path and shape. Position tables of another length are resampled, and dense
feed-forward halves copied into every expert where the config asks for it. What is
missing here or there without being allowed to is an error: a backbone that was silently not loaded
looks like one that learns badly.
"""

import collections
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.mixture_of_experts import upcycling
from mm_models.layers.positions import AxisPositions, resample_table
from trainers import runs
from trainers.config import ExperimentConfig, InitializeConfig
from trainers.loop import checkpoints

REPORT_FILE = "initialization.json"
_NAMES_SHOWN = 6

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights to start from.

    Attributes:
        checkpoint: path they were read from.
        step: training step there.
        values: by variable path.
    """

    checkpoint: str
    step: int
    values: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Match:
    """What becomes of every variable; paths in the order of the model.

    Attributes:
        loaded: taken as they are.
        resized: position tables with their rows there and here.
        upcycled: experts' variables with the source's dense ones of which every expert gets a copy.
        new: keep their random start.
        left_over: the source's, without a place here.
    """

    loaded: list[str]
    resized: dict[str, tuple[int, int]]
    upcycled: dict[str, str]
    new: list[str]
    left_over: list[str]

    def __str__(self) -> str:
        """A line for each kind that occurs."""
        resized = [f"{path} {there} → {here} rows" for path, (there, here) in self.resized.items()]
        lines = [
            ("loaded", len(self.loaded), _by_part(self.loaded)),
            ("resized", len(self.resized), ", ".join(resized)),
            ("copied into every expert", len(self.upcycled), _arrows(self.upcycled)),
            ("skipped, new here", len(self.new), ", ".join(self.new)),
            ("skipped, left over there", len(self.left_over), _by_part(self.left_over)),
        ]
        return "\n".join(f"  {title} {count}: {text}" for title, count, text in lines if count)


@dataclasses.dataclass(frozen=True)
class Initialized:
    """An initialisation that was done; `str` is its report."""

    checkpoint: str
    step: int
    match: Match

    def __str__(self) -> str:
        """The source and what became of every variable."""
        return f"initialised from {self.checkpoint} (step {self.step})\n{self.match}"

    def to_json(self) -> str:
        """The text of `initialization.json`, with every name."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def is_new(model_dir: str) -> bool:
    """Whether a run in `model_dir` would start, not resume."""
    return not (model_dir and checkpoints.list_steps(f"{model_dir}/checkpoints"))


def is_due(config: ExperimentConfig, model_dir: str) -> bool:
    """Whether a run in `model_dir` starts from another one: not when it resumes."""
    return bool(config.initialize.model_dir) and is_new(model_dir)


def check_source(config: InitializeConfig) -> None:
    """Raises UserError when there is no such run or checkpoint; reads no weights."""
    path = f"{config.model_dir}/config.yaml"
    if not tf.io.gfile.exists(path):
        raise UserError(
            f"initialize.model_dir is {config.model_dir!r}, which has no config.yaml; give a run "
            "folder of `mmstack train`, or leave it empty to start from random weights"
        )
    runs.find_checkpoint(config.model_dir, config.checkpoint)


def read_source(config: InitializeConfig) -> Source:
    """Reads every weight of a run into host memory.

    Call before the run's own model is built, which then sets the seed of its initial weights.

    Raises:
        UserError: no run there, or a checkpoint that cannot be read.
    """
    with tf.device("CPU:0"):
        run = runs.load_run(config.model_dir, config.checkpoint, config.use_ema)
    values = {variable.path: variable.numpy() for variable in run.model.weights}
    return Source(run.checkpoint, run.step, values)


def initialize(
    model: keras.Model, source: Source, config: InitializeConfig, seed: int = 0
) -> Initialized:
    """Assigns the source's values; call under the strategy's scope.

    Args:
        model: whose weights get values.
        source: where they come from.
        config: what may be missing, and whether experts start from dense weights.
        seed: of the noise on copies for experts.

    Raises:
        UserError: see `match`.
    """
    found = match(model, {path: value.shape for path, value in source.values.items()}, config)
    for variable in model.weights:
        if variable.path in found.resized:
            variable.assign(resample_table(source.values[variable.path], variable.shape[0]))
        elif variable.path in found.upcycled:
            variable.assign(
                upcycling.copies(
                    source.values[found.upcycled[variable.path]],
                    variable.shape[0],
                    noise=config.upcycle_noise,
                    seed=seed,
                    path=variable.path,
                )
            )
        elif variable.path not in found.new:
            variable.assign(source.values[variable.path])
    return Initialized(source.checkpoint, source.step, found)


def match(model: keras.Model, there: Mapping[str, Shape], config: InitializeConfig) -> Match:
    """Finds a place for every variable, by shapes alone.

    Args:
        model: whose weights get values; only their paths and shapes are looked at.
        there: shape by path of the source's weights.
        config: what may be missing.

    Raises:
        UserError: a variable that is missing or has another shape without being allowed to, a
            source's variable without a place inside a part that both have, nothing that fits, or
            no dense weights for experts that shall start from some.
    """
    tables = _position_tables(model)
    upcycled, routers = _upcycled(model, there) if config.upcycle_experts else ({}, set())
    loaded, resized, new, wrong = [], {}, [], []
    for variable in model.weights:
        path, here = variable.path, tuple(variable.shape)
        shape = tuple(there[path]) if path in there else None
        if shape == here:
            loaded.append(path)
        elif shape is not None and path in tables and shape[1:] == here[1:]:
            resized[path] = (shape[0], here[0])
        elif path in upcycled:
            continue
        elif path in routers or _any_matches(config.may_be_new, path):
            new.append(path)
        else:
            wrong.append(path if shape is None else f"{path} {list(shape)} instead of {list(here)}")
    _refuse(wrong, config, "lacks, or has in another shape,", "may_be_new")
    paths = [variable.path for variable in model.weights]
    used = {*paths, *upcycled.values()}
    left_over = [path for path in there if path not in used]
    parts = _prefixes(paths)
    stray = [
        path
        for path in left_over
        if not _is_whole_part(path, parts) and not _any_matches(config.may_be_left_over, path)
    ]
    _refuse(stray, config, "has, beyond what this model's parts hold,", "may_be_left_over")
    if not loaded and not resized:
        raise UserError(
            f"nothing in initialize.model_dir = {config.model_dir!r} fits this model; "
            "initialize.may_be_new allows every one of its variables to be missing"
        )
    if config.upcycle_experts and not upcycled:
        raise UserError(
            "initialize.upcycle_experts is true, but no feed-forward half in initialize.model_dir "
            f"= {config.model_dir!r} has the place and shape of experts of this model; give a "
            "dense run of the same sizes, or set it to false"
        )
    return Match(loaded, resized, upcycled, new, left_over)


def _refuse(names: Sequence[str], config: InitializeConfig, verb: str, field: str) -> None:
    if not names:
        return
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    raise UserError(
        f"initialize.model_dir = {config.model_dir!r} {verb} {len(names)} variable(s): {shown}"
        f"{more}; make task.model that of the run, or allow them with patterns in "
        f"initialize.{field}"
    )


def _position_tables(model: keras.Model) -> set[str]:
    return {
        table.path
        for layer in model._flatten_layers()
        if isinstance(layer, AxisPositions)
        for table in layer.tables
    }


def _upcycled(model: keras.Model, there: Mapping[str, Shape]) -> tuple[dict[str, str], set[str]]:
    """Experts' variables with their dense likes in the source, and these experts' routers."""
    found, routers = {}, set()
    for layer in upcycling.expert_layers(model._flatten_layers()):
        shapes = {weight.path: tuple(weight.shape) for weight in layer.weights}
        pairs = {
            path: dense
            for path, dense in upcycling.dense_paths(layer).items()
            if path not in there and tuple(there.get(dense, ())) == shapes[path][1:]
        }
        found.update(pairs)
        if pairs:
            routers.update(weight.path for weight in layer.router.weights)
    paths = (variable.path for variable in model.weights)
    return {path: found[path] for path in paths if path in found}, routers


def _any_matches(patterns: Iterable[str], path: str) -> bool:
    return any(re.search(pattern, path) for pattern in patterns)


def _prefixes(paths: Iterable[str]) -> set[str]:
    """Every path's first one, two, ... names."""
    found = set()
    for path in paths:
        names = path.split("/")
        found.update("/".join(names[:count]) for count in range(1, len(names)))
    return found


def _is_whole_part(path: str, parts: set[str]) -> bool:
    """Whether `path` lies in a part, such as a tower or the tokens of one modality, that the model
    does not have at all: one whose first name, or first two, are unknown to it."""
    names = path.split("/")
    return names[0] not in parts or (len(names) > 2 and "/".join(names[:2]) not in parts)


def _arrows(pairs: Mapping[str, str]) -> str:
    """Where the halves come from and go to, without the parts of each."""
    shown = {f"{_half(there)} → {_half(here)}": None for here, there in pairs.items()}
    return ", ".join(shown)


def _half(path: str) -> str:
    return "/".join(path.split("/")[:-2])


def _by_part(paths: Iterable[str]) -> str:
    counts = collections.Counter(path.split("/")[0] for path in paths)
    return ", ".join(f"{part} ({count})" for part, count in counts.items())
