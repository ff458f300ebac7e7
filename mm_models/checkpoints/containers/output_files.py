"""Output of weight formats: refused where something exists, and appearing by rename."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from mm_models.errors import UserError


def check_new(path: str) -> None:
    """Raises UserError when there is something already."""
    if tf.io.gfile.exists(path):
        raise UserError(f"--output={path} exists; name another one")


def check_local(path: str) -> None:
    """Raises UserError for a remote file, of which only TensorFlow's own format is written."""
    if "://" in path:
        raise UserError(
            f"--output={path} is remote, where only TensorFlow checkpoints are written; give a "
            "path on this machine and copy it there"
        )


@contextlib.contextmanager
def appearing(path: str) -> Iterator[str]:
    """A path to write a file or folder to, which becomes `path` when all went well.

    Raises:
        UserError: `path` exists, or cannot be written.
    """
    check_new(path)
    parent, name = os.path.split(path.rstrip("/"))
    unfinished = os.path.join(parent, f".tmp-{os.getpid()}-{name}")
    try:
        tf.io.gfile.makedirs(parent or ".")
        yield unfinished
        tf.io.gfile.rename(unfinished, path)
    except (tf.errors.OpError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--output={path} cannot be written ({reason})") from error
    finally:
        if tf.io.gfile.isdir(unfinished):
            tf.io.gfile.rmtree(unfinished)
        elif tf.io.gfile.exists(unfinished):
            tf.io.gfile.remove(unfinished)
