"""From raw inputs of one modality to the tokens an encoder takes."""

import math
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from mm_models import checks
from mm_models.errors import UserError
from mm_models.imp.config import ImpConfig
from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens import drop_token
from mm_models.layers.tokens.patches import PatchEmbedding
from mm_models.layers.tokens.positions import IndexedPositions
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.signal import spectrogram

PAD_ID = 0
DEFAULT_PATCH = "default"
AXES = {
    "video": ("temporal", "vertical", "horizontal"),
    "audio": ("temporal", "spectral"),
    "waveform": ("temporal",),
}
KINDS = {"video": "video", "audio": "spectrogram", "waveform": "waveform"}


def text_mask(ids: tf.Tensor) -> tf.Tensor:
    """float32[batch, tokens]: 1 wherever a caption has a word."""
    return tf.cast(tf.not_equal(ids, PAD_ID), tf.float32)


def pad_frames(video: tf.Tensor, patch_frames: int) -> tf.Tensor:
    """Repeats the last frame up to the next whole patch, so that an image is a still clip.

    Args:
        video: float[batch, frames, height, width, channels].
        patch_frames: frames of a patch.

    Returns:
        float[batch, frames', height, width, channels], frames' a multiple of `patch_frames`.
    """
    missing = -video.shape[1] % patch_frames
    if not missing:
        return video
    return tf.concat([video, tf.repeat(video[:, -1:], missing, axis=1)], axis=1)


def num_dropped_to(num_tokens: int, drop_rate: float, modality: str) -> int:
    """Tokens that DropToken leaves of so many: floor((1 - rate) * tokens).

    Raises:
        UserError: the rate is outside [0, 1), or nothing would remain.
    """
    checks.check_rate(drop_rate, f"drop_token.{modality}")
    kept = drop_token.num_kept(num_tokens, drop_rate)
    if kept < 1:
        raise UserError(
            f"drop_token.{modality} is {drop_rate}, which leaves none of {num_tokens} tokens; "
            "lower it"
        )
    return kept


@keras.saving.register_keras_serializable("mmstack")
class GridTokens(SavedLayer):
    """Patches mapped to tokens, with positions: videos and images, spectrograms, waveforms.

    Which tokens stay is drawn before the map, for every example apart, so that what is dropped is
    never computed; kept tokens keep their positions.

    Args:
        modality: `video`, `audio` or `waveform`.
        patches: name to the lengths of a patch; every name has a map of its own.
        table_rows: rows of the position table of each axis.
        dim: width of the tokens.
        log_mel: how spectrograms are computed, for `audio`.
        dropout_rate: dropout of the tokens.

    Call arguments:
        inputs: float[batch, frames, height, width, 3] or float[batch, samples].
        patch: name of the patches.
        drop_rate: share of the tokens left out in training.
        training: bool.
        seed: int32[2].

    Returns:
        float[batch, tokens, dim].

    Raises:
        UserError: an unknown patch, patches that do not fit the inputs, or too many of them.

    Source: the released IMP code.
    """

    def __init__(
        self,
        modality: str,
        patches: Mapping[str, Sequence[int]],
        table_rows: Sequence[int],
        dim: int,
        *,
        log_mel: spectrogram.LogMelConfig | dict | None = None,
        dropout_rate: float = 0.0,
        **kwargs,
    ):
        # Waveforms reach the spectrogram in full precision; the patch map casts for itself.
        super().__init__(autocast=False, **kwargs)
        if isinstance(log_mel, dict):
            log_mel = spectrogram.LogMelConfig(**log_mel)
        self.modality = modality
        self.patches = {name: tuple(patch) for name, patch in patches.items()}
        self.table_rows = tuple(table_rows)
        self.dim = dim
        self.log_mel = log_mel
        self.dropout_rate = dropout_rate
        policy = self.dtype_policy
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for name, patch in self.patches.items():
            layer = PatchEmbedding(
                KINDS[modality], patch, dim, name=f"{name}_patches", dtype=policy
            )
            setattr(self, f"{name}_patches", layer)
        self.positions = IndexedPositions(
            dict(zip(AXES[modality], self.table_rows, strict=True)),
            dim,
            name="positions",
            dtype=policy,
        )
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape=None):
        for name in self.patches:
            getattr(self, f"{name}_patches").build()
        self.positions.build()
        self.built = True

    def embedding(self, patch: str) -> PatchEmbedding:
        """The map of the patches of a name."""
        if patch not in self.patches:
            raise UserError(
                f"{self.modality} has no patches named {patch!r}; it has {sorted(self.patches)}"
            )
        return getattr(self, f"{patch}_patches")

    def prepare(self, inputs: tf.Tensor, patch: str) -> tf.Tensor:
        """Inputs as they are cut: whole patches of frames, or a spectrogram."""
        if self.log_mel is not None:
            return spectrogram.log_mel(tf.cast(inputs, tf.float32), self.log_mel)
        if self.modality == "video":
            return pad_frames(inputs, self.embedding(patch).patch_shape[0])
        return inputs

    def raw(self, inputs: tf.Tensor, patch: str = DEFAULT_PATCH) -> tf.Tensor:
        """float[batch, tokens, raw values of a token], before the map."""
        return self.embedding(patch).split(self.prepare(inputs, patch))

    def call(self, inputs, patch=DEFAULT_PATCH, drop_rate=0.0, training=False, seed=None):
        embedding, prepared = self.embedding(patch), self.prepare(inputs, patch)
        grid = embedding.grid(prepared.shape)
        num_tokens = math.prod(grid)
        if not num_tokens:
            raise UserError(
                f"{self.modality} of shape {tuple(inputs.shape[1:])} holds no whole patch of "
                f"{embedding.patch_shape}; give longer inputs or take smaller patches"
            )
        num_kept = num_dropped_to(num_tokens, drop_rate, self.modality)
        kept = None
        if training and num_kept < num_tokens:
            kept = drop_token.draw_kept(
                tf.shape(inputs)[0],
                num_tokens,
                num_kept,
                per_sample=True,
                seed=randomness.fold_in(randomness.required(seed, self.name), Purpose.DROP_TOKEN),
            )
        rows = self.positions(embedding(prepared, kept=kept), grid=grid, kept=kept)
        return self.dropout(rows, **randomness.drawing(Purpose.EMBEDDING, training, seed))


@keras.saving.register_keras_serializable("mmstack")
class TextTokens(SavedLayer):
    """Rows of a learned table, with positions; word i stands at row i of the position table.

    Args:
        vocabulary_size, initial_stddev: the word table.
        max_tokens: rows of the position table.
        dim: width of the tokens.
        dropout_rate: dropout of the tokens.

    Call arguments:
        ids: int32[batch, tokens], 0 is padding.
        training: bool.
        seed: int32[2].

    Returns:
        float[batch, tokens, dim].

    Raises:
        UserError: more tokens than `max_tokens`.

    Source: the released IMP code.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_tokens: int,
        dim: int,
        *,
        initial_stddev: float = 1.0,
        dropout_rate: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.max_tokens = max_tokens
        self.dim = dim
        self.initial_stddev = initial_stddev
        self.dropout_rate = dropout_rate
        policy = self.dtype_policy
        self.words = WordEmbedding(vocabulary_size, dim, initial_stddev, name="words", dtype=policy)
        self.positions = IndexedPositions(
            {"temporal": max_tokens}, dim, spread=False, name="positions", dtype=policy
        )
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape=None):
        self.words.build()
        self.positions.build()
        self.built = True

    def call(self, ids, training=False, seed=None):
        rows = self.positions(self.words(ids), grid=(ids.shape[1],))
        return self.dropout(rows, **randomness.drawing(Purpose.EMBEDDING, training, seed))


def make_tokens(config: ImpConfig, modality: str, *, dtype) -> keras.layers.Layer:
    """The tokeniser of a modality for a resolved config."""
    common = {
        "dim": config.dim,
        "dropout_rate": config.dropout_rate,
        "name": f"{modality}_tokens",
        "dtype": dtype,
    }
    if modality == "text":
        text = config.text
        return TextTokens(
            text.vocabulary_size, text.max_tokens, initial_stddev=text.initial_stddev, **common
        )
    if modality == "video":
        return GridTokens(modality, config.video.patches, config.video.table_rows, **common)
    if modality == "audio":
        audio = config.audio
        patches = {DEFAULT_PATCH: audio.patch}
        return GridTokens(modality, patches, audio.table_rows, log_mel=audio.log_mel, **common)
    waveform = config.waveform
    patches = {DEFAULT_PATCH: [waveform.patch_samples]}
    return GridTokens(modality, patches, [waveform.table_rows], **common)
