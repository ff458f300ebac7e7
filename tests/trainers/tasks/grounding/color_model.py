"""A model that grounds the words red, green and blue in pictures of pure colours, by hand."""

import keras
import numpy as np
import tensorflow as tf

from mm_models.contracts import GroundedVectors, WordVectors
from mm_models.text.word_encoder import WordEncoder
from tests.trainers.data.phrase_records import Scene

COLORS = ("red", "green", "blue")
CELLS, SIZE = 4, 16


class ColorModel(keras.Model):
    """Regions are colours of cells; the level `warm` sees red and green, `cold` sees blue.

    A word's score is its highest heat; other words than colours have none.
    """

    levels = ("warm", "cold")
    grid = (CELLS, CELLS)

    def __init__(self, encoder: str, **kwargs):
        super().__init__(**kwargs)
        encoder = WordEncoder(encoder, "")
        table = encoder.encode(tf.constant(COLORS), 1).layers[:, 0, 0, : encoder.width]
        # Kept as NumPy: tensors of a layer become its weights.
        self.table, self.width = table.numpy(), encoder.width

    def embed_images(self, video):
        frames = tf.reshape((video + 1.0) / 2.0, [-1, *video.shape[2:]])
        cells = tf.nn.avg_pool2d(frames, SIZE // CELLS, SIZE // CELLS, "VALID")
        cells = tf.reshape(cells, [-1, video.shape[1], CELLS * CELLS, 1, 3])
        return cells * tf.constant([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

    def embed_words(self, phrase_layers, phrase_word_mask):
        own = phrase_layers[:, :, tf.newaxis, 0, : self.width]
        is_color = tf.reduce_all(tf.abs(own - self.table) < 1e-6, axis=-1)
        words = tf.cast(is_color, tf.float32) * phrase_word_mask[..., tf.newaxis]
        return WordVectors(words, tf.math.l2_normalize(tf.reduce_sum(words, axis=1), axis=-1))

    def ground(self, vectors, regions):
        # [batch, words, frames, regions, levels]
        heat = tf.nn.relu(tf.einsum("bwd,bfrld->bwfrl", vectors, regions))
        shape = [heat.shape[0], heat.shape[1], heat.shape[2], CELLS, CELLS, heat.shape[-1]]
        return GroundedVectors(tf.reshape(heat, shape), tf.reduce_max(heat, axis=3))


def cell(row: int, column: int, size: int = 1) -> tuple[float, ...]:
    """The box of some cells."""
    return row / CELLS, column / CELLS, (row + size) / CELLS, (column + size) / CELLS


def painted(frames, *args, **fields) -> Scene:
    """A scene whose frames are boxes of colour channel and brightness on black.

    Args:
        frames: of each, ((box, channel, brightness from 0 to 255), ...).
        args, fields: of the scene.
    """
    pixels = np.zeros((len(frames), SIZE, SIZE, 3), np.uint8)
    for picture, spots in zip(pixels, frames, strict=True):
        for box, channel, brightness in spots:
            y0, x0, y1, x1 = (round(share * SIZE) for share in box)
            picture[y0:y1, x0:x1, channel] = brightness
    return Scene(*args, size=(SIZE, SIZE), pixels=pixels, **fields)
