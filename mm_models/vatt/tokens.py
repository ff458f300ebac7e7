"""From raw inputs of one modality to the tokens an encoder takes, the aggregate token in front."""

import dataclasses

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens import drop_token
from mm_models.layers.tokens.aggregate_token import AggregateToken
from mm_models.layers.tokens.drop_token import DropToken
from mm_models.layers.tokens.patches import PatchEmbedding
from mm_models.layers.tokens.positions import AxisPositions
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.layers.transformer.mlp import activation_function
from mm_models.signal import frames, spectrogram


@keras.saving.register_keras_serializable("mmstack")
class PatchTokens(keras.layers.Layer):
    """Patches, positions, dropout, DropToken and the aggregate token, for video and audio.

    Which tokens stay is drawn first, and only those are computed: the result is that of dropping
    them behind the positions, for less work.

    Args:
        kind: `video`, `waveform` or `spectrogram`.
        patch_shape: see `PatchEmbedding`.
        log_mel: how spectrograms are computed, for that kind.
        axes: rows of each position table by axis name.
        dim: width of the tokens.
        drop_token_rate: share of the tokens left out in training; the number kept follows from the
            tables.
        drop_token_per_sample: a permutation per example instead of one per batch.
        dropout_rate: dropout of the token embeddings.
        pre_projection: a Dense with GELU between the patch map and the positions (agnostic
            variant).
        position_layer_norm: normalise the summed positions.
        standardize: subtract every pixel's mean over the clip and divide by the clip's standard
            deviation, for video.

    Call arguments:
        inputs: float[batch, frames, height, width, channels] or float[batch, samples].
        training: bool.
        seed: int32[2].

    Returns:
        float[batch, 1 + tokens, dim].

    Source: VATT, sections 3.1 to 3.3.
    """

    def __init__(
        self,
        kind: str,
        patch_shape,
        axes: dict[str, int],
        dim: int,
        *,
        log_mel: spectrogram.LogMelConfig | dict | None = None,
        drop_token_rate: float = 0.0,
        drop_token_per_sample: bool = False,
        dropout_rate: float = 0.0,
        pre_projection: bool = False,
        position_layer_norm: bool = True,
        standardize: bool = False,
        **kwargs,
    ):
        # Waveforms reach the spectrogram in full precision; the patch map casts for itself.
        super().__init__(autocast=False, **kwargs)
        if isinstance(log_mel, dict):
            log_mel = spectrogram.LogMelConfig(**log_mel)
        self.log_mel = log_mel
        self._arguments = {
            "log_mel": None if log_mel is None else dataclasses.asdict(log_mel),
            "kind": kind,
            "patch_shape": tuple(patch_shape),
            "axes": dict(axes),
            "dim": dim,
            "drop_token_rate": drop_token_rate,
            "drop_token_per_sample": drop_token_per_sample,
            "dropout_rate": dropout_rate,
            "pre_projection": pre_projection,
            "position_layer_norm": position_layer_norm,
            "standardize": standardize,
        }
        policy = self.dtype_policy
        self.patches = PatchEmbedding(kind, patch_shape, dim, name="patches", dtype=policy)
        self.pre_projection = None
        if pre_projection:
            self.pre_projection = keras.layers.Dense(
                dim, activation=activation_function("gelu"), name="pre_projection", dtype=policy
            )
        self.positions = AxisPositions(
            axes, dim, position_layer_norm, name="positions", dtype=policy
        )
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=policy)
        num_positions = 1
        for rows in axes.values():
            num_positions *= rows
        self.drop_token = DropToken(
            drop_token.num_kept(num_positions, drop_token_rate),
            drop_token_per_sample,
            name="drop_token",
            dtype=policy,
        )
        self.aggregate = AggregateToken(name="aggregate", dtype=policy)

    def build(self, input_shape=None):
        shape = (None, None, self._arguments["dim"])
        self.patches.build()
        if self.pre_projection is not None:
            self.pre_projection.build(shape)
        self.positions.build()
        self.aggregate.build(shape)
        self.built = True

    def call(self, inputs, training=False, seed=None):
        if self.log_mel is not None:
            inputs = spectrogram.log_mel(inputs, self.log_mel)
        if self._arguments["standardize"]:
            inputs = frames.standardize(inputs)
        grid = self.patches.grid(inputs.shape)
        num_tokens = 1
        for size in grid:
            num_tokens *= size
        kept = self.drop_token.choose(
            tf.shape(inputs)[0],
            num_tokens,
            **randomness.drawing(Purpose.DROP_TOKEN, training, seed),
        )
        tokens = self.patches(inputs, kept=kept)
        if self.pre_projection is not None:
            tokens = self.pre_projection(tokens)
        tokens = self.positions(tokens, grid=grid, kept=kept)
        tokens = self.dropout(tokens, **randomness.drawing(Purpose.EMBEDDING, training, seed))
        return self.aggregate(tokens)

    def get_config(self):
        return {**super().get_config(), **self._arguments}


@keras.saving.register_keras_serializable("mmstack")
class WordTokens(SavedLayer):
    """Word vectors mapped to the encoder's width, with the aggregate token in front.

    With relative positions (the T5 tower) the aggregate vector lives among the word vectors and
    passes the same bias-free map. With absolute ones (the agnostic variant) the map has a bias,
    positions follow, and the aggregate vector joins behind them.

    Args:
        vocabulary_size, embedding_dim, trainable_embeddings: the word table.
        dim: width of the tokens.
        num_positions: rows of the absolute position table; 0 for relative positions.
        dropout_rate: dropout of the token embeddings.
        position_layer_norm: normalise absolute positions.

    Call arguments:
        ids: int32[batch, tokens].
        training: bool.
        seed: int32[2].

    Returns:
        float[batch, 1 + tokens, dim].

    Source: VATT, sections 3.1 and 3.2.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        dim: int,
        *,
        trainable_embeddings: bool = False,
        num_positions: int = 0,
        dropout_rate: float = 0.0,
        position_layer_norm: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.dim = dim
        self.trainable_embeddings = trainable_embeddings
        self.num_positions = num_positions
        self.dropout_rate = dropout_rate
        self.position_layer_norm = position_layer_norm
        policy = self.dtype_policy
        self.words = WordEmbedding(
            vocabulary_size,
            embedding_dim,
            trainable=trainable_embeddings,
            name="words",
            dtype=policy,
        )
        self.pre_projection = keras.layers.Dense(
            dim,
            activation=activation_function("gelu"),
            use_bias=num_positions > 0,
            name="pre_projection",
            dtype=policy,
        )
        self.positions = None
        if num_positions:
            self.positions = AxisPositions(
                {"temporal": num_positions},
                dim,
                position_layer_norm,
                name="positions",
                dtype=policy,
            )
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=policy)
        self.aggregate = AggregateToken(name="aggregate", dtype=policy)

    def build(self, input_shape=None):
        self.words.build()
        self.pre_projection.build((None, None, self.embedding_dim))
        if self.positions is not None:
            self.positions.build()
        self.aggregate.build(
            (None, None, self.embedding_dim if self.positions is None else self.dim)
        )
        self.built = True

    def call(self, ids, training=False, seed=None):
        tokens = self.words(ids)
        if self.positions is None:
            tokens = self.pre_projection(self.aggregate(tokens))
        else:
            tokens = self.pre_projection(tokens)
            tokens = self.positions(tokens, grid=(ids.shape[1],))
        tokens = self.dropout(tokens, **randomness.drawing(Purpose.EMBEDDING, training, seed))
        return tokens if self.positions is None else self.aggregate(tokens)
