"""Vision transformers (ViT) with big_vision's mathematics."""

import keras
import tensorflow as tf

from mm_models.backbones import vit_config
from mm_models.backbones.vit_config import GELUS, VitConfig
from mm_models.backbones.vit_head import MapHead
from mm_models.backbones.vit_positions import PatchPositions
from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.aggregate_token import AggregateToken
from mm_models.layers.tokens.patches import PatchEmbedding
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.stack import TransformerStack


@keras.saving.register_keras_serializable("mmstack")
class Vit(SavedLayer, keras.Model):
    """Images to tokens, one for each patch; and, where there is a pooling, to rows and classes.

    Every weight exists once the constructor returns.

    Args:
        config: VitConfig, or the dict of one.

    Call arguments:
        images: float[batch, height, width, 3] in [-1, 1], of any size.
        training: bool.
        seed: int32[2], from which dropout follows; None draws one (for `fit`).

    Returns:
        float[batch, tokens, width]: all tokens after the final normalisation, row by row; with the
        pooling `cls` the learned one is in front.

    Raises:
        UserError: a config that makes no sense; images smaller than a patch.

    Source: PaLI, section 3.1; big_vision.
    """

    def __init__(self, config: VitConfig | dict, name: str = "vit", **kwargs):
        super().__init__(autocast=False, name=name, **kwargs)
        self.config = config = vit_config.as_resolved(config)
        self.seed_generator = keras.random.SeedGenerator()
        policy = self.dtype_policy
        patch = (1, config.patch_size, config.patch_size)
        self.patches = PatchEmbedding("video", patch, config.width, name="patches", dtype=policy)
        self.positions = PatchPositions(
            config.grid, config.width, config.resample, name="positions", dtype=policy
        )
        if config.pool == "cls":
            self.class_token = AggregateToken(
                "zeros", config.class_position, name="class_token", dtype=policy
            )
        self.dropout = StatelessDropout(config.dropout_rate, name="dropout", dtype=policy)
        self.stack = TransformerStack(
            config.depth,
            BlockOptions(
                dim=config.width,
                mlp_dim=config.mlp_dim,
                num_heads=config.num_heads,
                head_dim=config.head_dim,
                activation=GELUS[config.gelu],
                norm_epsilon=config.epsilon,
                dropout_rate=config.dropout_rate,
            ),
            rematerialize=config.rematerialize,
            final_dropout=False,
            name="stack",
            dtype=policy,
        )
        self._make_head()
        # Here and not layer by layer, so that this model's name stands before theirs.
        self.build()

    def _make_head(self) -> None:
        config, policy = self.config, self.dtype_policy
        if config.pool == "map":
            self.map_head = MapHead(
                config.mlp_dim,
                config.num_heads,
                GELUS[config.gelu],
                config.epsilon,
                name="map_head",
                dtype=policy,
            )
        if config.representation_dim:
            self.pre_logits = keras.layers.Dense(
                config.representation_dim, activation="tanh", name="pre_logits", dtype=policy
            )
        if config.num_classes:
            self.head = keras.layers.Dense(
                config.num_classes,
                kernel_initializer="zeros" if config.head_zero_init else "glorot_uniform",
                bias_initializer=keras.initializers.Constant(config.head_bias),
                name="head",
                dtype=policy,
            )

    def build(self, input_shape=None):
        """Makes every weight; the second call, when a file is loaded, makes none."""
        if self.built:
            return
        config = self.config
        for layer in (self.patches, self.positions, self.stack):
            layer.build()
        if config.pool == "cls":
            self.class_token.build((None, None, config.width))
        if config.pool == "map":
            self.map_head.build((None, None, config.width))
        if config.representation_dim:
            self.pre_logits.build((None, config.width))
        if config.num_classes:
            self.head.build((None, config.representation_dim or config.width))
        self.built = True

    def call(self, images, training=False, seed=None):
        if training and seed is None:
            seed = tf.cast(self.seed_generator.next(), tf.int32)
        size = self.config.patch_size
        grid = vit_config.grid_of(self.config, images.shape[1], images.shape[2])
        images = images[:, : grid[0] * size, : grid[1] * size]
        # [batch, height, width, 3] -> [batch, 1 frame, height, width, 3] -> [batch, patches, width]
        tokens = self.positions(self.patches(images[:, None]), grid=grid)
        if self.config.pool == "cls":
            tokens = self.class_token(tokens)
        tokens = self.dropout(tokens, **randomness.drawing(Purpose.EMBEDDINGS, training, seed))
        return self.stack(tokens, **randomness.drawing(Purpose.STACK, training, seed))

    def maps(self, tokens, height: int, width: int):
        """Tokens as they lie in the image, without the learned one.

        Args:
            tokens: float[batch, tokens, width] that `call` gave.
            height, width: pixels of the images.

        Returns:
            float[batch, rows, columns, width].
        """
        grid = vit_config.grid_of(self.config, height, width)
        patches = tokens[:, 1:] if self.config.pool == "cls" else tokens
        return tf.reshape(patches, [-1, *grid, self.config.width])

    def pool(self, tokens):
        """One row for each image, before the representation and the classifier.

        Args:
            tokens: float[batch, tokens, width] that `call` gave.

        Returns:
            float[batch, width].

        Raises:
            ValueError: the config has no pooling.
        """
        kind = self.config.pool
        if kind == "none":
            raise ValueError(f"{self.name} has pool 'none', and no row that stands for an image")
        if kind == "map":
            return self.map_head(tokens)
        if kind == "cls":
            return tokens[:, 0]
        return tf.cast(tf.reduce_mean(tf.cast(tokens, tf.float32), axis=1), tokens.dtype)

    def represent(self, tokens):
        """float[batch, representation_dim], or `pool` where there is no such Dense; its args."""
        pooled = self.pool(tokens)
        return self.pre_logits(pooled) if self.config.representation_dim else pooled

    def classify(self, tokens):
        """Logits of the classifier.

        Args:
            tokens: float[batch, tokens, width] that `call` gave.

        Returns:
            float32[batch, classes].

        Raises:
            ValueError: the config has no classes.
        """
        if not self.config.num_classes:
            raise ValueError(f"{self.name} has num_classes 0, and no classifier")
        return tf.cast(self.head(self.represent(tokens)), tf.float32)
