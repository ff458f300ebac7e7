"""T5, mT5 and umT5: an encoder-decoder that reads vectors or text and writes text."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.backbones import t5_config
from mm_models.backbones.t5_blocks import block_options
from mm_models.backbones.t5_config import T5Config
from mm_models.decoding.state import DecoderState
from mm_models.errors import UserError
from mm_models.layers import logical_axes, randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.layers.transformer.block_inputs import BlockInputs, CachedInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.heads import leading_shape
from mm_models.layers.transformer.masks import cache_mask, causal_mask, segment_mask
from mm_models.layers.transformer.relative_bias import RelativeBias
from mm_models.layers.transformer.stack import StackOutputs, TransformerStack

PAD_ID = 0
START_ID = PAD_ID  # what the decoder reads in front of the first token
END_ID = 1


def shift_right(targets: tf.Tensor, segments: tf.Tensor | None = None) -> tf.Tensor:
    """What the decoder reads to write `targets`: the start id, then all of them but the last.

    Args:
        targets: int32[batch, tokens].
        segments: int32[batch, tokens] of a packed row, every example of which starts anew.
    """
    shifted = tf.pad(targets[:, :-1], [[0, 0], [1, 0]], constant_values=START_ID)
    if segments is None:
        return shifted
    before = tf.pad(segments[:, :-1], [[0, 0], [1, 0]])
    return tf.where(segments == before, shifted, START_ID)


@keras.saving.register_keras_serializable("mmstack")
class T5(SavedLayer, keras.Model):
    """Encoder and decoder of pre-norm blocks without biases, over one table of tokens.

    Attention scores are not scaled; relative positions add a learned bias to self-attention.
    Scores, normalisations and logits are computed in float32 whatever the policy. Every weight
    exists once the constructor returns.

    Args:
        config: T5Config, or the dict of one.

    Call arguments:
        inputs: `inputs` int32[batch, tokens], 0 is padding, and `targets` int32[batch, tokens];
            other keys are left alone.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float32[batch, tokens, vocab]: logits of the targets.

    Raises:
        UserError: a config that makes no sense, or float16, whose range the values leave.

    Source: T5X; T5 1.1 and mT5 (gated, untied), T5 (ReLU, tied), umT5 (biases of every layer).
    """

    config_class = T5Config

    def __init__(self, config: T5Config | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = t5_config.as_resolved(config, self.config_class)
        if self.compute_dtype == "float16":
            raise UserError(
                "the computation dtype is float16, in which the values of T5 overflow; "
                "use mixed_bfloat16 or float32"
            )
        policy = self.dtype_policy
        self.token_embedding = WordEmbedding(
            config.vocabulary_size,
            config.width,
            initial_stddev=1.0,
            truncated=False,
            name="token_embedding",
            dtype=policy,
        )
        self.dropout = StatelessDropout(config.dropout_rate, name="dropout", dtype=policy)
        self._add_stack("encoder", config.num_encoder_layers)
        self._add_stack("decoder", config.num_decoder_layers)
        if not config.tie_logits:
            self.logits_dense = keras.layers.Dense(
                config.vocabulary_size,
                use_bias=False,
                kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in"),
                name="logits_dense",
                dtype="float32",
            )
        self.add_parts()
        self.build()

    def add_parts(self) -> None:
        """Makes what a subclass has besides, which its `build` builds; nothing by default."""

    def extra_weights(self) -> list[keras.Variable]:
        """Those that a subclass has besides, which no file of T5's has."""
        return []

    def _add_stack(self, side: str, num_layers: int) -> None:
        config = self.config
        stack = TransformerStack(
            num_layers,
            self.make_block_options(side, num_layers),
            final_norm="rms",
            rematerialize=config.rematerialize,
            name=side,
            dtype=self.dtype_policy,
        )
        setattr(self, side, stack)
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for name in self._bias_names(side):
            setattr(self, name, self.make_bias(side, name))

    def make_block_options(self, side: str, num_layers: int) -> list[BlockOptions]:
        """Those of every block of `encoder` or `decoder`; a subclass may have others."""
        return [block_options(self.config, cross_attention=side == "decoder")] * num_layers

    def make_bias(self, side: str, name: str) -> RelativeBias:
        """A relative bias of `encoder` or `decoder`; a subclass may have others."""
        config = self.config
        return RelativeBias(
            config.num_heads,
            config.num_buckets,
            config.max_distance,
            causal=side == "decoder",
            initialization="t5x",
            name=name,
            dtype=self.dtype_policy,
        )

    def _bias_names(self, side: str) -> list[str]:
        name = f"{side}_relative_bias"
        if not self.config.per_layer_bias:
            return [name]
        return [f"{name}_{index}" for index in range(getattr(self, side).num_layers)]

    def biases(self, side: str) -> list[RelativeBias]:
        """The relative biases of `encoder` or `decoder`: one, or one for each layer."""
        return [getattr(self, name) for name in self._bias_names(side)]

    def build(self, input_shape=None):
        if self.built:
            return
        self.token_embedding.build()
        for side in ("encoder", "decoder"):
            for layer in (*self.biases(side), getattr(self, side)):
                layer.build()
        if not self.config.tie_logits:
            self.logits_dense.build((None, self.config.width))
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training=False, seed=None):
        mask = tf.cast(inputs["inputs"] != PAD_ID, tf.float32)
        options = {"training": training, "seed": seed}
        memory = self.encode(self.embed(inputs["inputs"]), mask, **options)
        return self.decode(shift_right(inputs["targets"]), memory, mask, **options)

    def embed(self, ids: tf.Tensor) -> tf.Tensor:
        """The vectors of tokens: int32[batch, tokens] -> float[batch, tokens, width]."""
        return self.token_embedding(ids)

    def encoder_bias(self, positions: np.ndarray):
        """The encoder's bias of tokens at any positions, such as those of text alone.

        Args:
            positions: int[tokens].

        Returns:
            float32[1, heads, tokens, tokens], or a tuple of one for each layer.
        """
        return self._of_layers("encoder", lambda bias: bias.between(np.asarray(positions)))

    def _of_layers(self, side: str, compute):
        """What a stack takes for biases: a tensor, or a tuple where every layer has its own."""
        tables = tuple(compute(bias) for bias in self.biases(side))
        return tables if self.config.per_layer_bias else tables[0]

    def encode(
        self, embedded: tf.Tensor, mask=None, bias=None, training=False, seed=None
    ) -> tf.Tensor:
        """Reads a sequence of vectors.

        Args:
            embedded: float[batch, tokens, width].
            mask: [batch, tokens], 1 where there is a token, or [batch, tokens, tokens], 1 where a
                token may see another (`masks.segment_mask` for packed rows); None: all see all.
            bias: see `encoder_bias`; None: that of the positions 0, 1, ...
            training: bool.
            seed: int32[2] for dropout.

        Returns:
            float[batch, tokens, width].
        """
        return self.encoded(embedded, mask, bias, training=training, seed=seed).tokens

    def encoded(self, embedded, mask=None, bias=None, *, training=False, seed=None, **options):
        """`encode`, with all that the stack gives (StackOutputs).

        Args:
            embedded, mask, bias, training, seed: as of `encode`.
            options: further BlockInputs.
        """
        if bias is None:
            bias = self.encoder_bias(np.arange(embedded.shape[1]))
        return self._run("encoder", embedded, mask, bias, training=training, seed=seed, **options)

    def _run(self, side, embedded, mask, bias, *, training, seed, **options) -> StackOutputs:
        seed = randomness.fold_in_optional(seed, Purpose(side))
        embedded = tf.cast(embedded, self.compute_dtype)
        dropped = self.dropout(embedded, **randomness.drawing(Purpose.EMBEDDED, training, seed))
        inputs = BlockInputs(dropped, mask, bias, training=training, seed=seed, **options)
        return getattr(self, side).forward(inputs)

    def decode(
        self,
        decoder_ids: tf.Tensor,
        memory: tf.Tensor,
        memory_mask=None,
        *,
        segments=None,
        training=False,
        seed=None,
    ) -> tf.Tensor:
        """Logits of every token after those read, with the true ones read (teacher forcing).

        Args:
            decoder_ids: int32[batch, tokens], see `shift_right`.
            memory: float[batch, memory, width], of `encode`.
            memory_mask: [batch, memory], 1 where there is a token, or None.
            segments: of packed rows, those of the decoder's tokens and of the memory, int32[batch,
                tokens] and int32[batch, memory], as `masks.segment_mask` takes them; None in the
                place of the memory's lets every segment see all of it.
            training: bool.
            seed: int32[2] for dropout.

        Returns:
            float32[batch, tokens, vocab].
        """
        return self.logits(
            self.hidden(
                decoder_ids, memory, memory_mask, segments=segments, training=training, seed=seed
            )
        )

    def hidden(
        self,
        decoder_ids: tf.Tensor,
        memory: tf.Tensor,
        memory_mask=None,
        *,
        segments=None,
        training=False,
        seed=None,
    ) -> tf.Tensor:
        """float[batch, tokens, width] of which `logits` makes those of `decode`, arguments alike;
        for losses that never hold the logits of all tokens at once."""
        return self.decoded(
            decoder_ids, memory, memory_mask, segments=segments, training=training, seed=seed
        ).tokens

    def decoded(
        self,
        decoder_ids: tf.Tensor,
        memory: tf.Tensor,
        memory_mask=None,
        *,
        segments=None,
        training=False,
        seed=None,
        **options,
    ) -> StackOutputs:
        """`hidden`, with all that the stack gives.

        Args:
            decoder_ids, memory, memory_mask, segments, training, seed: as of `decode`.
            options: further BlockInputs.
        """
        num_tokens = decoder_ids.shape[1]
        mask = causal_mask(num_tokens)
        if segments is not None:
            of_tokens, of_memory = segments
            mask *= segment_mask(of_tokens)
            if of_memory is not None:
                apart = segment_mask(of_tokens, of_memory)
                padding = 1.0 if memory_mask is None else tf.cast(memory_mask, tf.float32)[:, None]
                memory_mask = apart * padding
        bias = self._of_layers("decoder", lambda one: one.between(np.arange(num_tokens)))
        return self._run(
            "decoder",
            self.embed(decoder_ids),
            mask,
            bias,
            training=training,
            seed=seed,
            memory=memory,
            memory_mask=memory_mask,
            **options,
        )

    def logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """float[..., width] -> float32[..., vocab]."""
        hidden = tf.cast(hidden, tf.float32)
        if self.config.tie_logits:
            table = tf.convert_to_tensor(self.token_embedding.embeddings.value)
            logits = tf.einsum("...d,vd->...v", hidden * self.config.width**-0.5, table)
        else:
            logits = self.logits_dense(hidden)
        return logical_axes.split_by("vocabulary", logits, logits.shape.rank - 1)

    def start(
        self,
        memory: tf.Tensor,
        memory_mask=None,
        max_length: int = 1,
        num_beams: int = 1,
        memory_positions=None,
    ) -> DecoderState:
        """What `step` needs to write sequences.

        Args:
            memory: float[batch, memory, width], of `encode`.
            memory_mask: [batch, memory], 1 where there is a token, or None.
            max_length: most tokens that `step` reads.
            num_beams: rows for each example of the batch, side by side.
            memory_positions: see `BlockInputs`, or None.
        """
        batch, num_tokens = leading_shape(memory)
        if memory_mask is None:
            memory_mask = tf.ones([batch, num_tokens])
        blocks = self.decoder.remember(memory, memory_positions)
        return DecoderState(
            cache=self.decoder.empty_cache(batch * num_beams, max_length),
            memory={"blocks": blocks, "mask": memory_mask},
        )

    def step(
        self, ids: tf.Tensor, position: tf.Tensor, state: DecoderState
    ) -> tuple[tf.Tensor, DecoderState]:
        """Reads the ids at a position: int32[rows] -> logits of the next, float32[rows, vocab]."""
        logits, state = self.read(ids[:, None], position, state)
        return logits[:, 0], state

    def read(
        self, ids: tf.Tensor, position: tf.Tensor, state: DecoderState
    ) -> tuple[tf.Tensor, DecoderState]:
        """Reads several ids at once, such as a given beginning of what is to be written.

        Args:
            ids: int32[rows, tokens], from `position: int32[]` on.
            position: tokens read before.
            state: of `start`, or what a step before gave.

        Returns:
            float32[rows, tokens, vocab], and the new state.
        """
        num_tokens = ids.shape[1]
        max_length = state.cache[0]["keys"].shape[2]
        inputs = CachedInputs(
            self.embed(ids),
            position,
            cache_mask(position, num_tokens, max_length),
            self._of_layers("decoder", lambda one: one.rows(position, num_tokens, max_length)),
            memory_mask=state.memory["mask"],
            **self.step_options(position, num_tokens, state),
        )
        hidden, cache = self.decoder.step(inputs, state.cache, state.memory["blocks"])
        return self.logits(hidden), DecoderState(cache, state.memory)

    def step_options(self, position, num_tokens: int, state: DecoderState) -> dict[str, tf.Tensor]:
        """Further CachedInputs of the tokens from `position: int32[]` on; a subclass may give
        some."""
        return {}
