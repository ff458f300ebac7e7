"""Small files, local or remote, that appear whole: written aside, then renamed."""

import contextlib
import os

import tensorflow as tf


def write_text(path: str, text: str) -> None:
    """Writes `text` as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Writes `content`; the folder must exist. Where that fails, nothing stays behind."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".tmp-{name}")
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise
