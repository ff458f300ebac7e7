"""Files and SavedModels that go with a run: where they are, what is in them, and their copies."""

import hashlib
import os
import posixpath
from collections.abc import Iterator

import tensorflow as tf

from mm_models.config_tools import TravellingFile
from mm_models.errors import UserError

GRAPH = "saved_model.pb"


def check(file: TravellingFile) -> None:
    """Raises UserError for one that is not there, or is a folder where a file is asked for, or the
    other way round."""
    if not tf.io.gfile.exists(file.path):
        raise UserError(f"{file.place} is {file.path!r}, which does not exist; {file.remedy}")
    if file.is_model and not tf.io.gfile.exists(posixpath.join(model_folder(file.path), GRAPH)):
        raise UserError(
            f"{file.place} is {file.path!r}, which holds no {GRAPH}, neither itself nor in a "
            f"numbered version; name a folder that `mmstack export` wrote, or another SavedModel"
        )
    if not file.is_model and tf.io.gfile.isdir(file.path):
        raise UserError(f"{file.place} is {file.path!r}, a folder; name a file: {file.remedy}")


def model_folder(path: str) -> str:
    """The folder of a SavedModel: `path` itself, or the latest of its numbered versions.

    `path` where it holds neither.
    """
    if not tf.io.gfile.isdir(path) or tf.io.gfile.exists(posixpath.join(path, GRAPH)):
        return path
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(path))
    versions = [
        name
        for name in names
        if name.isascii()
        and name.isdecimal()
        and tf.io.gfile.exists(posixpath.join(path, name, GRAPH))
    ]
    return posixpath.join(path, max(versions, key=int)) if versions else path


def content_of(path: str) -> str:
    """What is in a file, or in the model of a folder, by a hash, since a copy is the same one; the
    path itself where there is nothing."""
    if not tf.io.gfile.exists(path):
        return path
    if not tf.io.gfile.isdir(path):
        return f"a file of SHA-256 {_sha256(path)[:16]}…"
    folder = model_folder(path)
    digest = hashlib.sha256()
    for name in sorted(_files(folder)):
        digest.update(f"{name} {_sha256(posixpath.join(folder, name))}\n".encode())
    return f"a folder of SHA-256 {digest.hexdigest()[:16]}…"


def name_of_copy(path: str) -> str:
    """What its copy is called: the name of the file or model, with the version that `path` names.

    A version that was only found in `path`, as the latest, does not show.
    """
    folder, name = posixpath.split(path.rstrip("/"))
    return f"{posixpath.basename(folder)}-{name}" if name.isdecimal() else name


def copy(path: str, target: str) -> None:
    """Copies a file, or the model that `model_folder` finds in a folder, which appears whole.

    A copy that is there with the same content stays; another one is replaced.
    """
    folder, name = posixpath.split(target)
    temporary = posixpath.join(folder, f".tmp-{name}")
    if not tf.io.gfile.isdir(path):
        tf.io.gfile.copy(path, temporary, overwrite=True)
        tf.io.gfile.rename(temporary, target, overwrite=True)
        return
    if tf.io.gfile.exists(target):
        if content_of(target) == content_of(path):
            return
        tf.io.gfile.rmtree(target)
    if tf.io.gfile.exists(temporary):
        tf.io.gfile.rmtree(temporary)
    model = model_folder(path)
    for name in _files(model):
        inside = posixpath.join(temporary, name)
        tf.io.gfile.makedirs(posixpath.dirname(inside))
        tf.io.gfile.copy(posixpath.join(model, name), inside)
    tf.io.gfile.rename(temporary, target)


def is_same_place(path: str, target: str) -> bool:
    """Whether a file or folder is its own copy."""
    return os.path.abspath(path) == os.path.abspath(target)


def _files(folder: str) -> Iterator[str]:
    """Paths of all files in a folder, relative to it."""
    for place, _, names in tf.io.gfile.walk(folder):
        inside = place[len(folder) :].strip("/")
        yield from (posixpath.join(inside, name) for name in names)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(1 << 24):
            digest.update(chunk)
    return digest.hexdigest()
