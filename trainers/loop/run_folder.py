"""The files of a run folder beside checkpoints: resolved config and the assets it points at."""

import contextlib
import os
import posixpath
import secrets
from collections.abc import Iterator, Sequence

import tensorflow as tf

from mm_models.config_tools import travelling_files, with_travelling_files
from mm_models.errors import UserError
from mm_models.failures import explain
from trainers import travelling
from trainers.atomic_files import write_text
from trainers.config.loading import load_config, to_yaml
from trainers.config.schema import ExperimentConfig
from trainers.data.reading.files import is_remote

FOLDERS = ("checkpoints", "best", "train", "eval", "assets")


def check_place(model_dir: str) -> None:
    """Looks whether a run can be written there, without writing. Raises UserError."""
    if not model_dir:
        raise UserError("no run folder was named; pass --model_dir=runs/<name>")
    if is_remote(model_dir):
        with _unwritable(model_dir):
            tf.io.gfile.exists(model_dir)
        return
    place = os.path.abspath(model_dir)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    inner = (os.path.join(model_dir, name) for name in FOLDERS)
    for folder in (place, *filter(os.path.lexists, inner)):
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            reason = "may not be written" if os.path.isdir(folder) else "is no folder"
            raise UserError(
                f"--model_dir {model_dir} cannot be written: {folder} {reason}; give another folder"
            )


def make(model_dir: str) -> None:
    """Creates the folder, and writes to it. Raises UserError when it cannot be written."""
    # Every worker and evaluation of a run looks, each by a file of its own.
    probe = os.path.join(model_dir, f".tmp-writable-{secrets.token_hex(8)}")
    with _unwritable(model_dir):
        tf.io.gfile.makedirs(model_dir)
        write_text(probe, "writable\n")
        tf.io.gfile.remove(probe)


@contextlib.contextmanager
def _unwritable(model_dir: str) -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise UserError(
            f"--model_dir {model_dir} cannot be written: {explain(error) or error}"
        ) from error


def check_travelling_files(config: ExperimentConfig) -> None:
    """Raises UserError for a file of the experiment, such as a vocabulary, or a model that is not
    there."""
    for file in travelling_files(config):
        travelling.check(file)


def write_config(config: ExperimentConfig, model_dir: str) -> None:
    """Writes `config.yaml`, runnable as it is, with the files it names copied to `assets/`."""
    config = with_copied_assets(config, os.path.join(model_dir, "assets"))
    write_text(os.path.join(model_dir, "config.yaml"), to_yaml(config))


def with_copied_assets(config: ExperimentConfig, folder: str) -> ExperimentConfig:
    """A copy of `config` whose vocabularies and other such files and models lie in `folder`."""
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
    folder, name = posixpath.split(path.rstrip("/"))
    here = os.path.join(model_dir, "assets", name)
    is_asset = posixpath.basename(folder) == "assets" and tf.io.gfile.exists(here)
    return here if is_asset else path


def _copy(path: str, folder: str, copies: dict[str, str]) -> str:
    if path in copies:
        return copies[path]
    name = travelling.name_of_copy(path)
    taken = {posixpath.basename(target) for target in copies.values()}
    if name in taken:
        name = f"{len(copies)}-{name}"
    target = os.path.join(folder, name)
    if not travelling.is_same_place(path, target):
        tf.io.gfile.makedirs(folder)
        travelling.copy(path, target)
    copies[path] = target
    return target
