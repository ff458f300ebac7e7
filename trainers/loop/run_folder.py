"""The files of a run folder beside checkpoints: resolved config and the assets it points at."""

import copy
import dataclasses
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from mm_models.errors import UserError
from trainers.atomic_files import write_text
from trainers.config.loading import load_config, to_yaml
from trainers.config.schema import ExperimentConfig

# Fields that hold the path of a file, by what to do where there is none.
_ASSET_FIELDS = {
    "vocabulary": "make it with `mmstack vocabulary`",
    "templates": "take configs/pali/templates.yaml, or write one like it",
}


def check_writable(model_dir: str) -> None:
    """Creates the folder. Raises UserError when it cannot be written."""
    if not model_dir:
        raise UserError("no run folder was named; pass --model_dir=runs/<name>")
    probe = os.path.join(model_dir, ".tmp-writable")
    try:
        tf.io.gfile.makedirs(model_dir)
        with tf.io.gfile.GFile(probe, "w") as file:
            file.write("")
        tf.io.gfile.remove(probe)
    except tf.errors.OpError as error:
        raise UserError(
            f"--model_dir {model_dir} cannot be written ({str(error).splitlines()[0]}); give "
            "another folder"
        ) from error


def check_assets(config: ExperimentConfig) -> None:
    """Raises UserError for a vocabulary or template file that is not there."""
    for part in (config.task, *config.streams.values(), *config.evaluators.values()):
        for kind, path in _assets(part):
            if not tf.io.gfile.exists(path):
                raise UserError(f"{kind} file {path} does not exist; {_ASSET_FIELDS[kind]}")


def _assets(part: Any) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.name in _ASSET_FIELDS and isinstance(value, str) and value:
                yield field.name, value
            else:
                yield from _assets(value)
    elif isinstance(part, dict):
        for value in part.values():
            yield from _assets(value)


def write_config(config: ExperimentConfig, model_dir: str) -> None:
    """Writes `config.yaml`, runnable as it is, with the files it names copied to `assets/`."""
    config = with_copied_assets(config, os.path.join(model_dir, "assets"))
    write_text(os.path.join(model_dir, "config.yaml"), to_yaml(config))


def with_copied_assets(config: ExperimentConfig, folder: str) -> ExperimentConfig:
    """A copy of `config` whose vocabularies and templates lie in `folder`."""
    config = copy.deepcopy(config)
    copies: dict[str, str] = {}
    for part in (config.task, *config.streams.values(), *config.evaluators.values()):
        _replace_assets(part, lambda path: _copy(path, folder, copies))
    return config


def read_config(model_dir: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The resolved config of a run, wherever its folder lies now and from wherever it is read.

    Raises:
        UserError: no run there, or overrides that do not fit.
    """
    path = os.path.join(model_dir, "config.yaml")
    if not tf.io.gfile.exists(path):
        raise UserError(
            f"{model_dir} is no run folder: it has no config.yaml; give one of `mmstack train`"
        )
    config = load_config([path], overrides)
    for part in (config.task, *config.streams.values(), *config.evaluators.values()):
        _replace_assets(part, lambda path: _in_folder(path, model_dir))
    return config


def _in_folder(path: str, model_dir: str) -> str:
    folder, name = posixpath.split(path)
    here = os.path.join(model_dir, "assets", name)
    is_asset = posixpath.basename(folder) == "assets" and tf.io.gfile.exists(here)
    return here if is_asset else path


def _replace_assets(part: Any, replace: Callable[[str], str]) -> None:
    if dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.name in _ASSET_FIELDS and isinstance(value, str) and value:
                setattr(part, field.name, replace(value))
            else:
                _replace_assets(value, replace)
    elif isinstance(part, dict):
        for value in part.values():
            _replace_assets(value, replace)


def _copy(path: str, folder: str, copies: dict[str, str]) -> str:
    if path in copies:
        return copies[path]
    name = posixpath.basename(path)
    taken = {posixpath.basename(target) for target in copies.values()}
    if name in taken:
        name = f"{len(copies)}-{name}"
    target = os.path.join(folder, name)
    if os.path.abspath(path) != os.path.abspath(target):
        tf.io.gfile.makedirs(folder)
        temporary = os.path.join(folder, f".tmp-{name}")
        tf.io.gfile.copy(path, temporary, overwrite=True)
        tf.io.gfile.rename(temporary, target, overwrite=True)
    copies[path] = target
    return target
