"""The files of a run folder beside checkpoints: resolved config and the assets it points at."""

import os
import posixpath
from collections.abc import Sequence

import tensorflow as tf

from mm_models.config_tools import travelling_files, with_travelling_files
from mm_models.errors import UserError
from trainers.atomic_files import write_text
from trainers.config.loading import load_config, to_yaml
from trainers.config.schema import ExperimentConfig


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


def check_travelling_files(config: ExperimentConfig) -> None:
    """Raises UserError for a file of the experiment, such as a vocabulary, that is not there."""
    for file in travelling_files(config):
        if not tf.io.gfile.exists(file.path):
            raise UserError(f"{file.field} file {file.path} does not exist; {file.remedy}")


def write_config(config: ExperimentConfig, model_dir: str) -> None:
    """Writes `config.yaml`, runnable as it is, with the files it names copied to `assets/`."""
    config = with_copied_assets(config, os.path.join(model_dir, "assets"))
    write_text(os.path.join(model_dir, "config.yaml"), to_yaml(config))


def with_copied_assets(config: ExperimentConfig, folder: str) -> ExperimentConfig:
    """A copy of `config` whose vocabularies and other such files lie in `folder`."""
    copies: dict[str, str] = {}
    return with_travelling_files(config, lambda path: _copy(path, folder, copies))


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
    config = load_config([path], list(overrides), trains=False)
    return with_travelling_files(config, lambda path: _in_folder(path, model_dir))


def _in_folder(path: str, model_dir: str) -> str:
    folder, name = posixpath.split(path)
    here = os.path.join(model_dir, "assets", name)
    is_asset = posixpath.basename(folder) == "assets" and tf.io.gfile.exists(here)
    return here if is_asset else path


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
