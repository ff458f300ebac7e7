"""Small files, local or remote, that appear whole: written aside, then renamed."""

import os

import tensorflow as tf


def write_text(path: str, text: str) -> None:
    """Writes `text` as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Writes `content`; the folder must exist."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".tmp-{name}")
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(temporary, path, overwrite=True)
