"""Files of TensorBoard's embedding projector."""

import io
import math
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import projector_config_pb2

from trainers.atomic_files import write_bytes, write_text

SPRITE_PIXELS = 48


def write_projector(
    model_dir: str,
    name: str,
    vectors: np.ndarray,
    texts: Sequence[str],
    pictures: np.ndarray | None = None,
) -> None:
    """Writes or replaces one embedding under `<model_dir>/eval`, keeping the others there.

    Args:
        model_dir: run folder, may be a remote URL.
        name: embedding's name; also the stem of its files.
        vectors: float[examples, dim].
        texts: one label per example.
        pictures: uint8[examples, height, width, 3] shown as points, or None.
    """
    folder = tf.io.gfile.join(model_dir, "eval")
    tf.io.gfile.makedirs(folder)
    rows = ("\t".join(f"{value:.6g}" for value in vector) for vector in vectors)
    write_text(tf.io.gfile.join(folder, f"{name}.vectors.tsv"), _lines(rows))
    labels = (" ".join(text.split()) or "-" for text in texts)
    write_text(tf.io.gfile.join(folder, f"{name}.labels.tsv"), _lines(labels))
    if pictures is not None:
        _write_sprite(tf.io.gfile.join(folder, f"{name}.sprite.png"), pictures)
    _add_to_config(folder, name, vectors.shape, pictures is not None)


def _add_to_config(folder: str, name: str, shape: tuple, has_sprite: bool) -> None:
    path = tf.io.gfile.join(folder, "projector_config.pbtxt")
    config = projector_config_pb2.ProjectorConfig()
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            text_format.Parse(file.read(), config)
    kept = [embedding for embedding in config.embeddings if embedding.tensor_name != name]
    del config.embeddings[:]
    config.embeddings.extend(kept)
    entry = config.embeddings.add(tensor_name=name, tensor_shape=list(shape))
    entry.tensor_path = f"{name}.vectors.tsv"
    entry.metadata_path = f"{name}.labels.tsv"
    if has_sprite:
        entry.sprite.image_path = f"{name}.sprite.png"
        entry.sprite.single_image_dim.extend([SPRITE_PIXELS, SPRITE_PIXELS])
    write_text(path, text_format.MessageToString(config))


def _write_sprite(path: str, pictures: np.ndarray) -> None:
    """One square sheet of small pictures, row by row."""
    per_side = math.ceil(math.sqrt(len(pictures)))
    sheet = Image.new("RGB", (per_side * SPRITE_PIXELS, per_side * SPRITE_PIXELS))
    for number, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize(
            (SPRITE_PIXELS, SPRITE_PIXELS), Image.Resampling.BILINEAR
        )
        row, column = divmod(number, per_side)
        sheet.paste(small, (column * SPRITE_PIXELS, row * SPRITE_PIXELS))
    encoded = io.BytesIO()
    sheet.save(encoded, format="PNG")
    write_bytes(path, encoded.getvalue())


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
