"""R3: what a video shows in, a caption out, with roles bound to what is attended to."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_models.backbones.t5 import END_ID, PAD_ID, START_ID, shift_right
from mm_models.decoding.state import DecoderState
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_outputs import RoleReport
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer.block_inputs import AttentionTrace
from mm_models.layers.transformer.stack import StackOutputs
from mm_models.r3 import config as r3_config
from mm_models.r3.config import R3Config
from mm_models.r3.language import RoleT5
from mm_models.r3.positions import PlaceEmbedding, region_ids, region_tables


class Seen(NamedTuple):
    """What the decoder attends to.

    Attributes:
        tokens: float[batch, visual tokens, width].
        mask: float32[batch, visual tokens], 1 where there is a token.
        positions: float[batch, visual tokens, width] of roles, or None where none read them.
        roles, traces: of the encoder, see `StackOutputs`.
    """

    tokens: tf.Tensor
    mask: tf.Tensor
    positions: tf.Tensor | None
    roles: Mapping[str, RoleReport]
    traces: Mapping[str, AttentionTrace]


@keras.saving.register_keras_serializable("mmstack")
class R3Model(SavedLayer, keras.Model):
    """Features of a video, mapped and encoded, and a decoder that writes about them.

    Args:
        config: R3Config, or the dict of one.

    Call arguments:
        inputs: `features` float[batch, visual tokens, feature_dim], `feature_positions`
            float32[batch, visual tokens, 5], `feature_token_mask` float32[batch, visual tokens],
            and `targets` int32[batch, target tokens], 0 is padding.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float32[batch, target tokens, vocab]: logits of the targets.

    Source: R3.
    """

    start_id = START_ID
    end_id = END_ID

    def __init__(self, config: R3Config | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = r3_config.as_resolved(config)
        policy = self.dtype_policy
        language = config.language
        self.projection = keras.layers.Dense(
            language.width, use_bias=False, activation="relu", name="projection", dtype=policy
        )
        self.projection.build((None, None, config.feature_dim))
        self.language = RoleT5(language, name="language", dtype=policy)
        if language.has_codes or config.placed_tokens:
            self.region_places = PlaceEmbedding(
                region_tables(config.num_steps, config.rows, config.columns),
                language.width,
                language.dropout_rate,
                name="region_places",
                dtype=policy,
            )
            self.region_places.build()
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training=False, seed=None):
        seen = self.encode(inputs, training=training, seed=seed)
        read = shift_right(inputs["targets"])
        return self.language.logits(self.decode(read, seen, training=training, seed=seed).tokens)

    def encode(
        self, inputs: Mapping[str, tf.Tensor], training=False, seed=None, traced=False
    ) -> Seen:
        """Reads what a video shows; inputs as of `call`, without targets."""
        mask = tf.cast(inputs["feature_token_mask"], tf.float32)
        positions = self._region_positions(inputs["feature_positions"], training, seed)
        tokens = self.projection(inputs["features"])
        if self.config.placed_tokens:
            tokens += tf.cast(positions, tokens.dtype)
        outputs = self.language.encoded(
            tokens,
            mask,
            self.language.encoder_bias(self._places(mask.shape[1])),
            positions=positions,
            traced=traced,
            **randomness.drawing(Purpose.ENCODER, training, seed),
        )
        return Seen(outputs.tokens, mask, positions, outputs.roles, outputs.traces)

    def _places(self, num_tokens: int) -> np.ndarray:
        places = np.arange(num_tokens)
        return places // self.config.regions if self.config.encoder_places == "time" else places

    def _region_positions(self, positions, training, seed):
        config = self.config
        if not (config.language.has_codes or config.placed_tokens):
            return None
        ids = region_ids(positions, config.num_steps, config.rows, config.columns, config.size_ids)
        return self.region_places(ids, **randomness.drawing(Purpose.VISION, training, seed))

    def decode(
        self, decoder_ids: tf.Tensor, seen: Seen, training=False, seed=None, traced=False
    ) -> StackOutputs:
        """The decoder's stack over ids that are read (`shift_right` of what is written)."""
        return self.language.decoded(
            decoder_ids,
            seen.tokens,
            seen.mask,
            memory_positions=seen.positions,
            traced=traced,
            **randomness.drawing(Purpose.DECODER, training, seed),
        )

    def traces(self, inputs: Mapping[str, tf.Tensor], ids: tf.Tensor) -> dict[str, AttentionTrace]:
        """What every attention did while a given text was written.

        Args:
            inputs: as of `call`, without targets.
            ids: int32[batch, tokens] of the text, with its end id, 0 is padding.

        Returns:
            A trace by `encoder/block_0/attention`, `decoder/block_0/cross_attention` and so on;
            row i of the decoder's is about the writing of token i.
        """
        seen = self.encode(inputs, traced=True)
        decoded = self.decode(shift_right(ids), seen, traced=True)
        found = {f"encoder/{name}": one for name, one in seen.traces.items()}
        return found | {f"decoder/{name}": one for name, one in decoded.traces.items()}

    def start_decoding(
        self, inputs: Mapping[str, tf.Tensor], max_length: int, num_beams: int = 1
    ) -> DecoderState:
        """Reads the inputs once; what `decode_step` needs from then on."""
        seen = self.encode(inputs)
        return self.language.start(seen.tokens, seen.mask, max_length, num_beams, seen.positions)

    def decode_step(self, ids, position, state: DecoderState):
        """See `T5.step`."""
        return self.language.step(ids, position, state)

    def dictionaries(self) -> dict[str, keras.layers.Layer]:
        """The VectorQuantizer of every attention that has codes, by the names of `traces`."""
        found = {}
        for side in ("encoder", "decoder"):
            for index, block in enumerate(getattr(self.language, side).blocks):
                for name in ("attention", "cross_attention"):
                    attention = getattr(block, name, None)
                    dictionary = getattr(getattr(attention, "role_layer", None), "dictionary", None)
                    if dictionary is not None:
                        found[f"{side}/block_{index}/{name}"] = dictionary.codes
        return found


def padding_mask(ids: tf.Tensor) -> tf.Tensor:
    """float32[batch, tokens], 1 where an id stands."""
    return tf.cast(ids != PAD_ID, tf.float32)
