"""Cutting video, waveforms and spectrograms into patches, each mapped to one token.

A patch map is a strided convolution whose windows do not overlap, computed as a reshape and one
product. Its kernel is the convolution's, reshaped: [4, 16, 16, 3, dim] -> [3072, dim], [128, 1,
dim] -> [128, dim].
"""

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.drop_token import take_tokens


def split_video(video: tf.Tensor, patch_shape: tuple[int, int, int]) -> tf.Tensor:
    """Cuts frames into blocks, ordered by time, then row, then column.

    Args:
        video: float[batch, frames, height, width, channels].
        patch_shape: frames, height and width of a block; must divide the video's.

    Returns:
        float[batch, blocks, voxels * channels].

    Raises:
        UserError: the blocks do not divide the video.
    """
    frames, height, width, channels = video.shape[1:]
    for axis, size, patch in zip(
        ("frames", "height", "width"), video.shape[1:4], patch_shape, strict=True
    ):
        if size % patch:
            raise UserError(f"video {axis} is {size}, which patches of {patch} do not divide")
    t, h, w = patch_shape
    grid = (frames // t, height // h, width // w)
    # Pixels of a row and their channels stay one axis: a TPU pads an axis of three channels to 128.
    blocks = tf.reshape(video, [-1, grid[0], t, grid[1], h, grid[2], w * channels])
    blocks = tf.transpose(blocks, [0, 1, 3, 5, 2, 4, 6])
    return tf.reshape(blocks, [-1, grid[0] * grid[1] * grid[2], t * h * w * channels])


def split_waveform(waveform: tf.Tensor, patch_samples: int) -> tf.Tensor:
    """float[batch, samples] or [batch, samples, 1] -> float[batch, patches, patch_samples].

    Samples after the last whole patch are not used.
    """
    num_patches = waveform.shape[1] // patch_samples
    waveform = waveform[:, : num_patches * patch_samples]
    return tf.reshape(waveform, [-1, num_patches, patch_samples])


def split_spectrogram(spectrogram: tf.Tensor, patch_shape: tuple[int, int]) -> tf.Tensor:
    """Cuts float[batch, frames, bins] into tiles, ordered by time, then frequency.

    Frames and bins after the last whole tile are not used.

    Returns:
        float[batch, tiles, frames_of_tile * bins_of_tile].
    """
    t, f = patch_shape
    num_times, num_bands = spectrogram.shape[1] // t, spectrogram.shape[2] // f
    tiles = spectrogram[:, : num_times * t, : num_bands * f]
    tiles = tf.reshape(tiles, [-1, num_times, t, num_bands, f])
    tiles = tf.transpose(tiles, [0, 1, 3, 2, 4])
    return tf.reshape(tiles, [-1, num_times * num_bands, t * f])


@keras.saving.register_keras_serializable("mmstack")
class PatchEmbedding(SavedLayer):
    """The linear map from patches of one kind to tokens.

    Args:
        kind: `video`, `waveform` or `spectrogram`.
        patch_shape: (frames, height, width), (samples,) or (frames, bins).
        dim: width of the tokens.
        num_channels: colour channels of a video.

    Call arguments:
        inputs: float[batch, frames, height, width, channels], float[batch, samples] or
            float[batch, frames, bins].
        kept: int32[kept] or int32[batch, kept], tokens to compute; None computes all.

    Returns:
        float[batch, tokens, dim].

    Source: VATT, section 3.1.
    """

    def __init__(self, kind: str, patch_shape, dim: int, num_channels: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.patch_shape = tuple(patch_shape)
        self.dim = dim
        self.num_channels = num_channels
        self.projection = keras.layers.Dense(dim, name="projection", dtype=self.dtype_policy)

    @property
    def patch_size(self) -> int:
        """Raw values in one patch."""
        size = self.num_channels if self.kind == "video" else 1
        for length in self.patch_shape:
            size *= length
        return size

    def build(self, input_shape=None):
        self.projection.build((None, None, self.patch_size))
        self.built = True

    def grid(self, input_shape) -> tuple[int, ...]:
        """Tokens along each axis for inputs of this shape (with the batch axis first)."""
        sizes = input_shape[1 : 1 + len(self.patch_shape)]
        return tuple(size // patch for size, patch in zip(sizes, self.patch_shape, strict=True))

    def split(self, inputs):
        """float[batch, patches, patch_size]."""
        if self.kind == "video":
            return split_video(inputs, self.patch_shape)
        if self.kind == "waveform":
            return split_waveform(inputs, self.patch_shape[0])
        return split_spectrogram(inputs, self.patch_shape)

    def call(self, inputs, kept=None):
        return self.projection(take_tokens(self.split(inputs), kept))
