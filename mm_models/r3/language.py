"""An encoder-decoder of the T5 family whose attentions bind roles."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from mm_models.backbones.t5 import T5
from mm_models.decoding.state import DecoderState
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_options import NO_ROLE, RoleOptions
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.relative_bias import RelativeBias
from mm_models.layers.transformer.stack import StackOutputs
from mm_models.r3.language_config import RoleT5Config, of_layers
from mm_models.r3.positions import PlaceEmbedding


@keras.saving.register_keras_serializable("mmstack")
class RoleT5(T5):
    """A T5 with roles, and the places in the text that they are made of.

    Args:
        config: RoleT5Config, or the dict of one, with a role for each layer.

    Source: R3: without roles T5, with `self_role` T6, with codes R3T6.
    """

    config_class = RoleT5Config
    config: RoleT5Config

    def make_block_options(self, side: str, num_layers: int) -> list[BlockOptions]:
        """The options of T5's blocks, with the roles of each."""
        config = self.config
        every = super().make_block_options(side, num_layers)
        if side == "encoder":
            roles, memory_roles = config.encoder_roles, [NO_ROLE]
        else:
            roles, memory_roles = config.decoder_roles, config.cross_roles
        of_each = (of_layers(kinds, len(every)) for kinds in (roles, memory_roles))
        return [
            dataclasses.replace(options, role=self._role(kind), memory_role=self._role(memory_kind))
            for options, kind, memory_kind in zip(every, *of_each, strict=True)
        ]

    def _role(self, kind: str) -> RoleOptions | None:
        if kind == NO_ROLE:
            return None
        config = self.config
        return RoleOptions(kind, config.quantizer, config.dropout_rate, config.masked_pairs)

    def make_bias(self, side: str, name: str) -> RelativeBias:
        """T5's, with a farther reach in the encoder."""
        config, of_encoder = self.config, side == "encoder"
        return RelativeBias(
            config.num_heads,
            config.num_buckets,
            config.encoder_max_distance if of_encoder else config.max_distance,
            causal=not of_encoder,
            initialization="t5x",
            name=name,
            dtype=self.dtype_policy,
        )

    def add_parts(self) -> None:
        """Places in the text, where roles read them, and the bias of cross-attention."""
        config = self.config
        if config.has_codes:
            self.text_places = PlaceEmbedding(
                {"place": config.num_positions},
                config.width,
                config.dropout_rate,
                name="text_places",
                dtype=self.dtype_policy,
            )
        if config.cross_bias:
            self.cross_relative_bias = RelativeBias(
                config.num_heads,
                config.cross_num_buckets,
                config.cross_max_distance,
                causal=True,
                initialization="t5x",
                name="cross_relative_bias",
                dtype=self.dtype_policy,
            )

    def build(self, input_shape=None):
        if self.built:
            return
        for name in ("text_places", "cross_relative_bias"):
            if hasattr(self, name):
                getattr(self, name).build()
        super().build(input_shape)

    def extra_weights(self) -> list[keras.Variable]:
        """Roles, places in the text, and the bias of cross-attention."""
        layers = [getattr(self, name, None) for name in ("text_places", "cross_relative_bias")]
        for block in (*self.encoder.blocks, *self.decoder.blocks):
            attentions = (block.attention, getattr(block, "cross_attention", None))
            layers += [getattr(attention, "role_layer", None) for attention in attentions]
        return [weight for layer in layers if layer is not None for weight in layer.weights]

    def decoded(self, decoder_ids, memory, memory_mask=None, **options) -> StackOutputs:
        """T5's, with the places of the tokens and the bias of cross-attention."""
        num_tokens = decoder_ids.shape[1]
        places = tf.constant(np.arange(num_tokens), tf.int32)
        drawing = {"training": options.get("training", False), "seed": options.get("seed")}
        return super().decoded(
            decoder_ids,
            memory,
            memory_mask,
            positions=self._text_positions(places, **drawing),
            memory_bias=self._cross_bias(num_tokens, memory.shape[1]),
            **options,
        )

    def _text_positions(self, places, training=False, seed=None):
        """float[1, tokens, width], or None where no role reads it."""
        if not self.config.has_codes:
            return None
        places = tf.minimum(places, self.config.num_positions - 1)[None]
        drawing = randomness.drawing(Purpose.POSITIONS, training, seed)
        return self.text_places({"place": places}, **drawing)

    def _cross_bias(self, num_queries: int, num_keys: int):
        if not self.config.cross_bias:
            return None
        return self.cross_relative_bias.across(num_queries, num_keys)

    def step_options(self, position, num_tokens: int, state: DecoderState) -> dict[str, tf.Tensor]:
        """Places of the tokens, and their rows of the bias of cross-attention."""
        max_length = state.cache[0]["keys"].shape[2]
        bias = self._cross_bias(max_length, state.memory["mask"].shape[1])
        if bias is not None:
            bias = tf.gather(bias, position + tf.range(num_tokens), axis=2)
        return {
            "positions": self._text_positions(position + tf.range(num_tokens)),
            "memory_bias": bias,
        }
