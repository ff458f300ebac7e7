"""The encoder: tokens of one modality in, one pooled row an example out."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.imp import config as imp_config
from mm_models.imp import config_checks
from mm_models.imp.config import ImpConfig
from mm_models.imp.tokens import DEFAULT_PATCH, make_tokens, text_mask
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.aggregate_token import AggregateToken, extend_mask
from mm_models.layers.transformer.block_inputs import BlockInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.stack import TransformerStack

# Below the mean of a caption without a word; it then gives zeros.
EMPTY_MASK = 1e-6
HIDDEN_VALUE = -1e9


class Tokens(NamedTuple):
    """What the blocks see.

    Attributes:
        rows: float[batch, tokens, dim].
        mask: float32[batch, tokens] 1 where there is a word, or None where every token counts.
    """

    rows: tf.Tensor
    mask: tf.Tensor | None


class PooledRows(NamedTuple):
    """What the encoder gives for a modality.

    Attributes:
        pooled: float32[batch, dim].
        routings: a Routing for every layer with experts.
    """

    pooled: tf.Tensor
    routings: tuple


def make_stack(config: ImpConfig, *, dtype) -> TransformerStack:
    """The blocks of a resolved config: pre-norm without biases, offsets only in the final norm."""
    options = BlockOptions(
        dim=config.dim,
        mlp_dim=config.mlp_dim,
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        use_bias=False,
        attention_norm="layer_scale",
        mlp_norm="layer_scale",
        activation="gelu_tanh",
        dropout_rate=config.dropout_rate,
        qk_norm=config.qk_norm,
    )
    return TransformerStack(
        config.num_layers,
        options,
        experts=config_checks.expert_options(config) if config.expert_layers else None,
        expert_layers=config.expert_layers,
        rematerialize=config.rematerialize,
        name="stack",
        dtype=dtype,
    )


def pool(rows: tf.Tensor, mask: tf.Tensor | None, kind: str) -> tf.Tensor:
    """One row of an example's rows.

    Args:
        rows: float[batch, tokens, dim].
        mask: float32[batch, tokens] 1 for the rows that count, or None for all.
        kind: `mean`, `max`, `sum` or `token` (the first row).

    Returns:
        float32[batch, dim]; zeros for an example none of whose rows counts, but for `token`.
    """
    rows = tf.cast(rows, tf.float32)
    if kind == "token":
        return rows[:, 0]
    if mask is None:
        reduce = {"mean": tf.reduce_mean, "max": tf.reduce_max, "sum": tf.reduce_sum}[kind]
        return reduce(rows, axis=1)
    mask = mask[:, :, None]
    if kind == "max":
        highest = tf.reduce_max(tf.where(mask > 0, rows, HIDDEN_VALUE), axis=1)
        return tf.where(tf.reduce_max(mask, axis=1) > 0, highest, tf.zeros_like(highest))
    total = tf.reduce_sum(rows * mask, axis=1)
    return total if kind == "sum" else total / (tf.reduce_sum(mask, axis=1) + EMPTY_MASK)


@keras.saving.register_keras_serializable("mmstack")
class ImpEncoder(SavedLayer):
    """One transformer for several modalities, one at a time, with each one's own maps around it.

    Nothing inside the blocks, and no embedding, tells modalities apart.

    Args:
        config: ImpConfig, or the dict of one.
        modalities: those that it takes.

    Call arguments:
        inputs: of one modality, see `ImpModel`, without an axis of instances.
        modality: its name.
        patch: name of the patches, for videos.
        drop_rate, training, seed: see `GridTokens`.

    Returns:
        PooledRows.

    Source: IMP.
    """

    def __init__(self, config: ImpConfig | dict, modalities, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = imp_config.as_resolved(config)
        self.modalities = list(modalities)
        policy = self.dtype_policy
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for modality in self.modalities:
            setattr(self, f"{modality}_tokens", make_tokens(config, modality, dtype=policy))
            for side in ("pre", "post"):
                name = f"{modality}_{side}_projection"
                setattr(self, name, keras.layers.Dense(config.dim, name=name, dtype=policy))
        self.aggregate = None
        if config.pooling == "token":
            self.aggregate = AggregateToken(name="aggregate", dtype=policy)
        self.stack = make_stack(config, dtype=policy)

    def build(self, input_shape=None):
        shape = (None, None, self.config.dim)
        for modality in self.modalities:
            self.tokeniser(modality).build()
            for side in ("pre", "post"):
                getattr(self, f"{modality}_{side}_projection").build(shape)
        if self.aggregate is not None:
            self.aggregate.build(shape)
        self.stack.build()
        self.built = True

    def tokeniser(self, modality: str) -> keras.layers.Layer:
        """`GridTokens` or `TextTokens` of a modality."""
        return getattr(self, f"{modality}_tokens")

    def tokens(
        self, inputs, modality, patch=DEFAULT_PATCH, drop_rate=0.0, training=False, seed=None
    ) -> Tokens:
        """What the blocks see of a modality; arguments as for `call`."""
        options = randomness.drawing(Purpose.TOKENS, training, seed)
        if modality != "text":
            options["drop_rate"] = drop_rate
        if modality == "video":
            options["patch"] = patch
        rows = self.tokeniser(modality)(inputs, **options)
        rows = getattr(self, f"{modality}_pre_projection")(rows)
        mask = text_mask(inputs) if modality == "text" else None
        if self.aggregate is not None:
            rows = self.aggregate(rows)
            mask = None if mask is None else extend_mask(mask)
        return Tokens(rows, mask)

    def call(
        self, inputs, modality=None, patch=DEFAULT_PATCH, drop_rate=0.0, training=False, seed=None
    ):
        tokens = self.tokens(inputs, modality, patch, drop_rate, training=training, seed=seed)
        seed = randomness.fold_in_optional(seed, Purpose.STACK)
        outputs = self.stack.forward(
            BlockInputs(tokens.rows, tokens.mask, training=training, seed=seed)
        )
        rows = getattr(self, f"{modality}_post_projection")(outputs.tokens)
        return PooledRows(pool(rows, tokens.mask, self.config.pooling), outputs.routings)
