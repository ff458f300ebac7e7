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

from mm_models.backbones.vit_positions import PatchPositions
from mm_models.errors import UserError
from mm_models.layers.mixture_of_experts import upcycling
from mm_models.layers.tokens.positions import AxisPositions
from trainers import runs
from trainers.config.schema import ExperimentConfig, InitializeConfig
from trainers.loop import checkpoints

REPORT_FILE = "initialization.json"
_NAMES_SHOWN = 6

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TrainedWeights:
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
    """An initialisation that was done; `str` is its report.

    Attributes:
        checkpoint: path the weights were read from.
        step: training step there.
        part: of the model that they fill; empty: all of it.
        match: what became of every variable of that part.
    """

    checkpoint: str
    step: int
    part: str
    match: Match

    def __str__(self) -> str:
        """The source and what became of every variable."""
        place = f"{self.part} initialised" if self.part else "initialised"
        return f"{place} from {self.checkpoint} (step {self.step})\n{self.match}"


def to_json(done: Mapping[str, Initialized]) -> str:
    """The text of `initialization.json`, with every variable of every source."""
    shown = {name: dataclasses.asdict(one) for name, one in done.items()}
    return json.dumps(shown, indent=1) + "\n"


def is_new(model_dir: str) -> bool:
    """Whether a run in `model_dir` would start, not resume."""
    return not (model_dir and checkpoints.list_steps(f"{model_dir}/checkpoints"))


def is_due(config: ExperimentConfig, model_dir: str) -> bool:
    """Whether a run in `model_dir` starts from another one: not when it resumes."""
    return any(source.model_dir for source in config.initialize.values()) and is_new(model_dir)


def check_sources(sources: Mapping[str, InitializeConfig]) -> None:
    """Raises UserError when a run or checkpoint is not there; reads no weights."""
    for name, config in _given(sources).items():
        if not tf.io.gfile.exists(f"{config.model_dir}/config.yaml"):
            raise UserError(
                f"initialize.{name}.model_dir is {config.model_dir!r}, which has no config.yaml; "
                "give a run folder of `mmstack train`, or leave it empty to start from random "
                "weights"
            )
        runs.find_checkpoint(config.model_dir, config.checkpoint)


def _given(sources: Mapping[str, InitializeConfig]) -> dict[str, InitializeConfig]:
    return {name: config for name, config in sources.items() if config.model_dir}


def read_sources(sources: Mapping[str, InitializeConfig]) -> dict[str, TrainedWeights]:
    """Reads every weight of the runs into host memory, by name of the source.

    Call before the run's own model is built, which then sets the seed of its initial weights.

    Raises UserError for no run there, or a checkpoint that cannot be read.
    """
    return {name: _read(config) for name, config in _given(sources).items()}


def _read(config: InitializeConfig) -> TrainedWeights:
    with tf.device("CPU:0"):
        run = runs.load_run(config.model_dir, config.checkpoint, config.use_ema)
    values = {variable.path: variable.numpy() for variable in run.model.weights}
    return TrainedWeights(run.checkpoint, run.step, values)


def initialize(
    model: keras.Model,
    source: TrainedWeights,
    config: InitializeConfig,
    seed: int = 0,
    name: str = "source",
) -> Initialized:
    """Assigns the source's values; call under the strategy's scope.

    Args:
        model: whose weights get values.
        source: where they come from.
        config: see `match`.
        seed: of the noise on copies for experts.
        name: see `match`, as for what is raised.
    """
    values = source.values
    found = match(model, {path: value.shape for path, value in values.items()}, config, name)
    tables = _position_tables(model)
    for variable in _filled(model, config.part):
        path, rows = variable.path, next(iter(variable.shape), 1)
        if path in found.resized:
            variable.assign(tables[path].resized(values[path], rows))
        elif path in found.upcycled:
            dense, noise = values[found.upcycled[path]], config.upcycle_noise
            variable.assign(upcycling.copies(dense, rows, noise=noise, seed=seed, path=path))
        elif path not in found.new:
            variable.assign(values[path])
    return Initialized(source.checkpoint, source.step, config.part, found)


def _filled(model: keras.Model, part: str) -> list[keras.Variable]:
    """The weights of a part of the model, of all of it for an empty name."""
    return [variable for variable in model.weights if _is_in(variable.path, part)]


def _is_in(path: str, part: str) -> bool:
    return not part or path.startswith(f"{part}/")


def match(
    model: keras.Model, there: Mapping[str, Shape], config: InitializeConfig, name: str = "source"
) -> Match:
    """Finds a place for every variable, by shapes alone.

    Args:
        model: whose weights get values; only their paths and shapes are looked at.
        there: shape by path of the source's weights.
        config: what part they fill, and what may be missing.
        name: of the source, for messages.

    Raises:
        UserError: a variable that is missing or has another shape without being allowed to, a
            source's variable without a place inside a part that both have, nothing that fits, or
            no dense weights for experts that shall start from some.
    """
    tables = _position_tables(model)
    upcycled, routers = _upcycled(model, there) if config.upcycle_experts else ({}, set())
    field = f"initialize.{name}"
    filled = _filled(model, config.part)
    if not filled:
        parts = sorted({variable.path.split("/")[0] for variable in model.weights})
        raise UserError(f"{field}.part is {config.part!r}; the parts of the model are {parts}")
    loaded, resized, new, wrong = [], {}, [], []
    for variable in filled:
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
    _refuse(wrong, config, "lacks, or has in another shape,", field, "may_be_new")
    paths = [variable.path for variable in filled]
    used = {*paths, *upcycled.values()}
    left_over = [path for path in there if path not in used and _is_in(path, config.part)]
    parts = _prefixes(paths)
    stray = [
        path
        for path in left_over
        if not _is_whole_part(path, parts) and not _any_matches(config.may_be_left_over, path)
    ]
    _refuse(stray, config, "has, beyond what this model's parts hold,", field, "may_be_left_over")
    if not loaded and not resized:
        raise UserError(
            f"nothing in {field}.model_dir = {config.model_dir!r} fits this model; "
            f"{field}.may_be_new allows every one of its variables to be missing"
        )
    if config.upcycle_experts and not upcycled:
        raise UserError(
            f"{field}.upcycle_experts is true, but no feed-forward half in {field}.model_dir "
            f"= {config.model_dir!r} has the place and shape of experts of this model; give a "
            "dense run of the same sizes, or set it to false"
        )
    return Match(loaded, resized, upcycled, new, left_over)


def _refuse(
    names: Sequence[str], config: InitializeConfig, verb: str, field: str, patterns: str
) -> None:
    if not names:
        return
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    raise UserError(
        f"{field}.model_dir = {config.model_dir!r} {verb} {len(names)} variable(s): {shown}"
        f"{more}; make task.model that of the run, or allow them with patterns in "
        f"{field}.{patterns}"
    )


def _position_tables(model: keras.Model) -> dict[str, AxisPositions | PatchPositions]:
    """The layer of every position table, by the table's path."""
    return {
        table.path: layer
        for layer in model._flatten_layers()
        if isinstance(layer, AxisPositions | PatchPositions)
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
