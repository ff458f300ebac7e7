"""Encoders of the two variants: a tower per modality, or one encoder for all."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.aggregate_token import extend_mask
from mm_models.layers.transformer.block_inputs import BlockInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.mlp import activation_function
from mm_models.layers.transformer.relative_bias import RelativeBias
from mm_models.layers.transformer.stack import TransformerStack, run_stack
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import EncoderConfig, VattConfig
from mm_models.vatt.tokens import PatchTokens, WordTokens

PAD_ID = 0


def block_options(encoder: EncoderConfig, **changes) -> BlockOptions:
    """The blocks of a resolved encoder config."""
    return BlockOptions(
        dim=encoder.dim,
        mlp_dim=encoder.mlp_dim,
        num_heads=encoder.num_heads,
        head_dim=encoder.head_dim,
        attention_dropout_rate=encoder.attention_dropout_rate,
        dropout_rate=encoder.dropout_rate,
        **changes,
    )


def make_tokens(config: VattConfig, modality: str, *, dtype) -> keras.layers.Layer:
    """The token maker of a modality for a resolved config."""
    tower = getattr(config, modality)
    agnostic = config.variant == "agnostic"
    encoder = config.shared if agnostic else tower
    common = {
        "dim": encoder.dim,
        "dropout_rate": encoder.dropout_rate,
        "position_layer_norm": config.position_layer_norm,
        "name": f"{modality}_tokens",
        "dtype": dtype,
    }
    if modality == "text":
        return WordTokens(
            tower.vocabulary_size,
            tower.embedding_dim,
            trainable_embeddings=tower.trainable_embeddings,
            num_positions=tower.num_tokens if agnostic else 0,
            **common,
        )
    is_spectrogram = modality == "audio" and tower.input == "spectrogram"
    return PatchTokens(
        kind="video" if modality == "video" else tower.input,
        patch_shape=tower.patch_shape,
        log_mel=tower.log_mel if is_spectrogram else None,
        axes=tower.grid,
        drop_token_rate=tower.drop_token_rate,
        drop_token_per_sample=tower.drop_token_per_sample,
        pre_projection=agnostic,
        standardize=modality == "video" and tower.scaling == "standard",
        **common,
    )


def make_stack(config: VattConfig, modality: str, *, dtype) -> TransformerStack:
    """The stack of a modality's own tower, or the shared one of the agnostic variant."""
    if config.variant == "agnostic":
        return TransformerStack(
            config.shared.num_layers, block_options(config.shared), name="stack", dtype=dtype
        )
    tower = getattr(config, modality)
    if modality == "text":
        options = block_options(tower, use_bias=False, scale_scores=False, attention_norm="rms")
        return TransformerStack(
            tower.num_layers, options, final_norm="rms", name="stack", dtype=dtype
        )
    has_bias = modality == "video" or tower.input == "waveform"
    options = block_options(tower, use_bias=has_bias)
    return TransformerStack(tower.num_layers, options, name="stack", dtype=dtype)


@keras.saving.register_keras_serializable("mmstack")
class Tower(SavedLayer):
    """One modality's tokens and its own transformer stack (modality-specific variant).

    Call arguments:
        inputs: video float[batch, frames, height, width, 3]; audio float[batch, samples]; text
            int32[batch, tokens].
        pooled_only: compute only the aggregate row of the last block.
        training: bool.
        seed: int32[2].
        run_stack: a StackRunner.

    Returns:
        float[batch, 1 + tokens, dim], row 0 pooled; with `pooled_only` float[batch, 1, dim].

    Source: VATT, section 3.2; T5 for text.
    """

    def __init__(self, modality: str, config: VattConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.modality = modality
        self.config = config = vatt_config.as_resolved(config)
        self.tokens = make_tokens(config, modality, dtype=self.dtype_policy)
        self.stack = make_stack(config, modality, dtype=self.dtype_policy)
        self.relative_bias = None
        if modality == "text":
            self.relative_bias = RelativeBias(
                config.text.num_heads,
                config.text.relative_buckets,
                config.text.relative_max_distance,
                name="relative_bias",
                dtype=self.dtype_policy,
            )

    @property
    def output_dim(self) -> int:
        """Width of the rows."""
        return self.stack.options.dim

    def build(self, input_shape=None):
        self.tokens.build()
        self.stack.build()
        if self.relative_bias is not None:
            self.relative_bias.build()
        self.built = True

    def call(self, inputs, pooled_only=False, training=False, seed=None, run_stack=run_stack):
        tokens = self.tokens(inputs, **randomness.drawing(Purpose.TOKENS, training, seed))
        block_inputs = BlockInputs(
            tokens,
            attention_mask=text_mask(inputs) if self.modality == "text" else None,
            bias=None if self.relative_bias is None else self.relative_bias(tokens),
            num_outputs=1 if pooled_only else None,
            **randomness.drawing(Purpose.STACK, training, seed),
        )
        return run_stack(self.stack, block_inputs)


@keras.saving.register_keras_serializable("mmstack")
class SharedEncoder(SavedLayer):
    """One transformer stack for every modality, with each modality's own maps around it.

    Call arguments: those of `Tower`, and `modality`, the name of the one whose inputs are given.

    Source: VATT, section 3.2 (modality-agnostic).
    """

    def __init__(self, config: VattConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = vatt_config.as_resolved(config)
        policy = self.dtype_policy
        self.stack = make_stack(config, "shared", dtype=policy)
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for modality in config.modalities:
            tokens = make_tokens(config, modality, dtype=policy)
            setattr(self, f"{modality}_tokens", tokens)
            name = f"{modality}_post_projection"
            projection = keras.layers.Dense(
                config.shared.post_dim,
                activation=activation_function("gelu"),
                name=name,
                dtype=policy,
            )
            setattr(self, name, projection)

    @property
    def output_dim(self) -> int:
        """Width of the rows."""
        return self.config.shared.post_dim

    def build(self, input_shape=None):
        for modality in self.config.modalities:
            getattr(self, f"{modality}_tokens").build()
            projection = getattr(self, f"{modality}_post_projection")
            projection.build((None, None, self.config.shared.dim))
        self.stack.build()
        self.built = True

    def call(
        self,
        inputs,
        modality=None,
        pooled_only=False,
        training=False,
        seed=None,
        run_stack=run_stack,
    ):
        tokens = getattr(self, f"{modality}_tokens")(
            inputs, **randomness.drawing(Purpose.TOKENS, training, seed)
        )
        block_inputs = BlockInputs(
            tokens,
            attention_mask=text_mask(inputs) if modality == "text" else None,
            num_outputs=1 if pooled_only else None,
            **randomness.drawing(Purpose.STACK, training, seed),
        )
        rows = run_stack(self.stack, block_inputs)
        return getattr(self, f"{modality}_post_projection")(rows)


def text_mask(ids: tf.Tensor) -> tf.Tensor:
    """float32[batch, 1 + tokens]: 1 at the aggregate token and wherever a caption has a word."""
    return extend_mask(tf.cast(ids != PAD_ID, tf.float32))
