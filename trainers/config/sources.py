"""Merging of an experiment's sources, with errors that name file, key and remedy."""

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import omegaconf
import tensorflow as tf
import yaml
from omegaconf import DictConfig, OmegaConf

from mm_models import checks
from mm_models.errors import UserError
from trainers import registry
from trainers.config.schema import ExperimentConfig, OptimizerConfig
from trainers.evaluation.config import EvaluatorConfig

_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class ConfigSource(NamedTuple):
    """One contribution to the experiment.

    Attributes:
        name: what errors call it: the file's path, or `--set a.b=c`.
        tree: nested mapping as given.
    """

    name: str
    tree: dict[str, Any]


def merge(config_files: Sequence[str], overrides: Sequence[str]) -> ExperimentConfig:
    """Defaults ← presets ← files in order ← overrides in order. Raises UserError.

    A stream, data set, evaluator or parameter group that is null in a source is left out.
    """
    if not config_files:
        raise UserError("no experiment was named: pass --config_file=configs/<system>/<name>.yaml")
    sources = [read_file(path) for path in config_files]
    sources += [read_override(text) for text in overrides]
    hints = _experiment_hints(sources)
    for source in sources:
        _check_tree(source.tree, hints, "", source.name)
    merged = _defaults(hints, sources)
    for source in sources:
        merged = _merge_one(merged, source, hints)
    config = _resolve(merged, sources)
    if not config.trainer.optimizers:
        config.trainer.optimizers = {"main": OptimizerConfig()}
    return config


def _resolve(merged: DictConfig, sources: list[ConfigSource]) -> ExperimentConfig:
    """The dataclasses, interpolations (`${a.b}`) put in."""
    try:
        return OmegaConf.to_object(merged)
    except omegaconf.errors.OmegaConfBaseException as error:
        given = [(path, one.name) for one in sources for path in _interpolations(one.tree)]
        key = str(getattr(error, "full_key", None) or "")
        found = [(path, name) for path, name in given if path == key] or given
        paths, names = zip(*found, strict=True) if found else ([key], [sources[0].name])
        raise UserError(
            f"{names[-1]}: {' or '.join(dict.fromkeys(paths))} has no value that fits: "
            f"{_first_line(error)}; write the value itself, or the full name of a field, such as "
            "${trainer.train_steps}"
        ) from error


def _interpolations(tree: Any, prefix: str = "") -> Iterator[str]:
    """Paths of the values that are taken from elsewhere."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _interpolations(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _interpolations(value, f"{prefix}[{index}]")
    elif isinstance(tree, str) and "${" in tree:
        yield prefix


def read_file(path: str) -> ConfigSource:
    """Reads one YAML file, local or remote. Raises UserError when it is missing or no mapping."""
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            text = file.read()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read --config_file {path}: {_first_line(error)}; give the path of a YAML file"
        ) from error
    try:
        tree = OmegaConf.create(text) if text.strip() else None
    except (yaml.YAMLError, omegaconf.errors.OmegaConfBaseException) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, DictConfig) or not tree:
        raise UserError(f"{path} is empty or no mapping; an experiment has `task:`, `streams:` …")
    return ConfigSource(path, OmegaConf.to_container(tree, resolve=False))


def read_override(text: str) -> ConfigSource:
    """Parses `a.b=value`; the value is YAML, so `[1,2]`, `null`, `1e-4` and `{x: 1}` mean what they
    say."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(
            f"--set {text!r} is no override; write it as --set trainer.train_steps=2000"
        )
    try:
        node: Any = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))["value"]
    except (yaml.YAMLError, omegaconf.errors.OmegaConfBaseException) as error:
        raise UserError(f"--set {text!r}: the value is not valid YAML; quote it") from error
    return ConfigSource(f"--set {text}", _nest(key, node))


def _nest(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def _experiment_hints(sources: list[ConfigSource]) -> dict[str, Any]:
    """Types of the top-level fields; that of `task` follows `task.name`, the last one given, and
    those of `evaluators`, by name, their kinds."""
    name = None
    for source in sources:
        task = source.tree.get("task")
        if isinstance(task, Mapping) and "name" in task:
            name = task["name"]
    if name is None:
        raise UserError(
            f"{sources[0].name} has no task.name; name one of {sorted(registry.systems())}"
        )
    hints = typing.get_type_hints(ExperimentConfig)
    hints["task"] = registry.resolve(registry.system(str(name)).task_config)
    hints["evaluators"] = _evaluator_types(sources, str(name))
    return hints


def _evaluator_types(sources: list[ConfigSource], system: str) -> dict[str, type]:
    """The config class of each named evaluator, by its kind, the last one given; checks fields."""
    given = [
        (source.name, name, fields)
        for source in sources
        if isinstance(evaluators := source.tree.get("evaluators"), Mapping)
        for name, fields in evaluators.items()
    ]
    found: dict[str, type] = {name: EvaluatorConfig for _, name, _ in given}
    given = [each for each in given if isinstance(each[2], Mapping)]
    kinds = {name: (str(f["kind"]), source) for source, name, f in given if "kind" in f}
    for source, name, fields in given:
        kind, where = kinds.get(name, ("", source))
        path = f"evaluators.{name}."
        found[name] = registry.evaluator_class(kind, system, f"{where}: {path}kind").config_class
        what = f"no field of the kind {kind}:"
        _check_keys(fields, typing.get_type_hints(found[name]), path, source, what)
    return found


def _check_keys(
    tree: Mapping, hints: Mapping[str, Any], prefix: str, source: str, what: str = "unknown key"
) -> None:
    for key in tree:
        if key not in hints:
            remedy = checks.nearest(str(key), hints, prefix)
            raise UserError(f"{source}: {what} {prefix}{key}; {remedy}")


def _check_tree(value: Any, hints: Mapping[str, Any], prefix: str, source: str) -> None:
    _check_keys(value, hints, prefix, source)
    for key, child in value.items():
        _check_value(child, hints[key], f"{prefix}{key}", source)


def _check_value(value: Any, hint: Any, path: str, source: str) -> None:
    """Checks one value against its type, recursively."""
    if isinstance(value, str) and value.startswith("${"):
        _require(_mapping_type(hint) is None, value, "a mapping, written out", path, source)
        return
    if hint is Any:
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is not None or type(None) not in arguments:
            kinds = [argument for argument in arguments if argument is not type(None)]
            _check_value(value, kinds[0], path, source)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        _require(isinstance(value, Mapping), value, f"a {hint.__name__} mapping", path, source)
        _check_tree(value, typing.get_type_hints(hint), f"{path}.", source)
    elif origin is dict or isinstance(hint, Mapping):
        _require(isinstance(value, Mapping), value, "a mapping by name", path, source)
        for key, kind in _types_within(hint, value).items():
            if value[key] is not None or not dataclasses.is_dataclass(kind):
                _check_value(value[key], kind, f"{path}.{key}", source)
    elif origin in (list, tuple):
        _require(isinstance(value, list), value, "a list", path, source)
        for index, child in enumerate(value):
            _check_value(child, arguments[0], f"{path}[{index}]", source)
    else:
        # What OmegaConf takes for a value that is still missing.
        _require(value != "???", value, "a value", path, source)
        _require(_is_scalar(value, hint), value, _SCALARS.get(hint, str(hint)), path, source)


def _is_scalar(value: Any, hint: type) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _require(condition: bool, value: Any, expected: str, path: str, source: str) -> None:
    if not condition:
        raise UserError(
            f"{source}: {path} is {value!r} ({type(value).__name__}); expected {expected}"
        )


def _defaults(hints: Mapping[str, Any], sources: list[ConfigSource]) -> DictConfig:
    """Structured defaults, with every preset that the sources name put in its place."""
    merged = OmegaConf.structured(ExperimentConfig)
    merged.task = OmegaConf.structured(hints["task"])
    union: Any = OmegaConf.create({})
    for source in sources:
        union = OmegaConf.merge(union, OmegaConf.create(source.tree))
    presets: dict[str, Any] = {}
    _collect_presets(OmegaConf.to_container(union), hints, presets, "", sources[0].name)
    # Outer presets first: a preset inside a part refines what the whole's preset chose for that
    # part.
    for path in sorted(presets, key=lambda path: path.count(".")):
        merged = _merge_tree(merged, _nest(path, presets[path]), hints)
    return merged


def _collect_presets(
    tree: Mapping[str, Any],
    hints: Mapping[str, Any],
    found: dict[str, Any],
    prefix: str,
    source: str,
) -> None:
    """Finds mappings whose type has `from_preset` and that name a preset: path → preset's
    instance."""
    for key, child in tree.items():
        hint = _mapping_type(hints[key])
        if not isinstance(child, Mapping) or hint is None:
            continue
        path = f"{prefix}{key}"
        if child.get("preset") and hasattr(hint, "from_preset"):
            found[path] = _preset(hint, str(child["preset"]), path, source)
        _collect_presets(child, _types_within(hint, child), found, f"{path}.", source)


def _mapping_type(hint: Any) -> Any:
    """The dataclass, dict[str, T] or types by name behind `hint`, or None when it is neither."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(item for item in typing.get_args(hint) if item is not type(None))
    is_mapping = typing.get_origin(hint) is dict or isinstance(hint, Mapping)
    return hint if is_mapping or dataclasses.is_dataclass(hint) else None


def _types_within(hint: Any, tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The type of every key of `tree`, whose own type is one of `_mapping_type`."""
    if dataclasses.is_dataclass(hint):
        return typing.get_type_hints(hint)
    if isinstance(hint, Mapping):
        return {name: hint[name] for name in tree}
    return dict.fromkeys(tree, typing.get_args(hint)[1])


def _preset(hint: Any, name: str, path: str, source: str) -> Any:
    try:
        return dataclasses.asdict(hint.from_preset(name))
    except KeyError as error:
        raise UserError(
            f"{source}: {path}.preset is {name!r}, which {hint.__name__} does not have"
        ) from error


def _merge_one(merged: DictConfig, source: ConfigSource, hints: Mapping[str, Any]) -> DictConfig:
    tree = copy.deepcopy(source.tree)
    for *parents, name in _take_left_out(tree, hints):
        place = merged
        for key in parents:
            place = place.get(key, {})
        if name not in place:
            path = ".".join([*parents, name])
            raise UserError(
                f"{source.name}: {path} is null, which leaves out what an earlier source names, "
                f"but there are only {sorted(place)}"
            )
        del place[name]
    try:
        return _merge_tree(merged, tree, hints)
    except omegaconf.errors.OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a value"
        raise UserError(f"{source.name}: {key}: {_first_line(error)}") from error


def _merge_tree(merged: DictConfig, tree: dict[str, Any], hints: Mapping[str, Any]) -> DictConfig:
    """Adds the tree; an evaluator that is new starts with the defaults of its kind."""
    for name in tree.get("evaluators", {}):
        if name not in merged.evaluators:
            merged.evaluators[name] = OmegaConf.structured(hints["evaluators"][name])
    return OmegaConf.merge(merged, OmegaConf.create(tree))


def _take_left_out(tree: dict[str, Any], hints: Mapping[str, Any]) -> list[list[str]]:
    """Takes named parts that are null (a stream, an evaluator) out of `tree`; returns their
    paths."""
    found: list[list[str]] = []
    for key, child in list(tree.items()):
        hint = _mapping_type(hints[key])
        if not isinstance(child, dict) or hint is None:
            continue
        inner = _types_within(hint, child)
        if not dataclasses.is_dataclass(hint):
            for name in [name for name, part in child.items() if part is None]:
                if dataclasses.is_dataclass(inner[name]):
                    del child[name]
                    found.append([key, name])
        found += [[key, *path] for path in _take_left_out(child, inner)]
    return found


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", None) or error).splitlines()[0].strip()
