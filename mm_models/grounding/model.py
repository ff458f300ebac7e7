"""Words of sentences and regions of pictures in a common space."""

import keras
import tensorflow as tf

from mm_models.backbones.levels.build import build_levels
from mm_models.contracts import EmbeddedSentences, GroundedVectors
from mm_models.grounding import config as grounding_config
from mm_models.grounding import pairwise
from mm_models.grounding.config import GroundingConfig
from mm_models.grounding.mapping import LevelMap
from mm_models.grounding.text_branch import TextBranch
from mm_models.layers.saved_layer import SavedLayer
from mm_models.signal.resize_maps import resize_maps


@keras.saving.register_keras_serializable("mmstack")
class GroundingModel(SavedLayer, keras.Model):
    """A backbone's levels and a frozen encoder's layers, mapped into one space.

    Args:
        config: GroundingConfig, or the dict of one.

    Call arguments:
        inputs: `video` float[batch, frames, height, width, 3] in [-1, 1], `phrase_layers`
            float32[batch, words, 3, 2 * word_width], `phrase_word_mask` float32[batch, words].
        training, seed: bool and int32[2]; nothing here differs in training, or is drawn.

    Returns:
        GroundedVectors of the words, and of the sentence as one more behind them.

    Raises:
        UserError: a config that cannot work.

    Source: Akbari and others, Multi-level Multimodal Common Semantic Space for Image-Phrase
    Grounding (CVPR 2019).
    """

    def __init__(self, config: GroundingConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = grounding_config.as_resolved(config)
        self.visual = build_levels(config.visual, name="visual", dtype=self.dtype_policy)
        shapes = self.visual.shapes()
        self.levels = tuple(shapes)
        self.grid = grounding_config.reference_grid(config)
        pointwise = config.mapping == "pointwise"
        for level, (_, _, channels) in shapes.items():
            level_map = LevelMap(
                channels,
                config.visual_widths if pointwise else config.visual_widths[-1:],
                kernel_size=1 if pointwise else 3,
                leaky_slope=config.leaky_slope,
                name=f"map_{level}",
                dtype=self.dtype_policy,
            )
            level_map.build()
            setattr(self, f"map_{level}", level_map)
        self.text = TextBranch(config, name="text", dtype=self.dtype_policy)
        self.text.build()
        self.built = True

    def call(self, inputs, training=False, seed=None):
        regions = self.embed_images(inputs["video"], training=training)
        text = self.embed_words(inputs["phrase_layers"], inputs["phrase_word_mask"])
        both = tf.concat([text.words, text.sentence[:, tf.newaxis]], axis=1)
        return self.ground(both, regions)

    def embed_images(self, video: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Unit vectors of the regions of pictures, at every level.

        Args:
            video: float[batch, frames, height, width, 3] in [-1, 1].
            training: whether gradients of the backbone are asked for.

        Returns:
            float32[batch, frames, rows * columns, levels, dim], row by row.
        """
        images = tf.reshape(video, [-1, *video.shape[2:]])
        maps = self.visual.maps(images, training=training)
        mapped = []
        for level in self.levels:
            resized = resize_maps(tf.cast(maps[level], tf.float32), *self.grid)
            # [batch * frames, rows, columns, dim]
            vectors = getattr(self, f"map_{level}")(tf.cast(resized, self.compute_dtype))
            mapped.append(tf.reshape(vectors, [-1, self.num_regions, self.config.dim]))
        stacked = tf.stack(mapped, axis=2)
        return tf.reshape(stacked, [-1, video.shape[1], *stacked.shape[1:]])

    def embed_words(
        self, phrase_layers: tf.Tensor, phrase_word_mask: tf.Tensor
    ) -> EmbeddedSentences:
        """Unit vectors of words and sentence; see `TextBranch`."""
        return self.text(phrase_layers, phrase_word_mask)

    def ground(self, vectors: tf.Tensor, regions: tf.Tensor) -> GroundedVectors:
        """Where pictures show what vectors stand for, each frame for itself.

        Args:
            vectors: float32[batch, words, dim] of words, or of sentences.
            regions: float32[batch, frames, rows * columns, levels, dim] of `embed_images`.
        """
        num_frames, num_words = regions.shape[1], vectors.shape[1]
        flat = tf.reshape(regions, [-1, *regions.shape[2:]])
        repeated = tf.repeat(vectors, num_frames, axis=0)  # [batch * frames, words, dim]
        # [batch * frames, levels, words, regions]
        heat = pairwise.heat(repeated, flat)
        heat = tf.reshape(heat, [-1, num_frames, len(self.levels), num_words, *self.grid])
        scores = pairwise.match_scores(repeated, flat)  # [batch * frames, words, levels]
        scores = tf.reshape(scores, [-1, num_frames, num_words, len(self.levels)])
        return GroundedVectors(
            tf.transpose(heat, [0, 3, 1, 4, 5, 2]), tf.transpose(scores, [0, 2, 1, 3])
        )

    @property
    def num_regions(self) -> int:
        """Regions of a frame."""
        return self.grid[0] * self.grid[1]

    def squared_kernels(self) -> tf.Tensor:
        """float32[]: sum of the squared entries of the kernels that map the levels."""
        return tf.add_n([getattr(self, f"map_{level}").squared_kernels() for level in self.levels])
