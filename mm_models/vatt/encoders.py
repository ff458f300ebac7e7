"""The encoders of the configured modalities, without a head."""

import dataclasses

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import instances, randomness
from mm_models.layers.transformer.stack import OpenRows
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import MODALITIES, VattConfig
from mm_models.vatt.towers import SharedEncoder, Tower

# Axes of one example's input, without views or candidates.
_EXAMPLE_RANKS = {"video": 4, "audio": 1, "text": 1}


class VattEncoders(keras.Model):
    """A tower per modality, or one encoder for all: what `VattModel` and `VattClassifier` share.

    Every weight of the encoders exists once the constructor returns.

    Args:
        config: VattConfig, or the dict of one.

    Raises:
        UserError: a config that makes no sense.

    Source: VATT, section 3.2.
    """

    def __init__(self, config: VattConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if isinstance(config, dict):
            config = vatt_config.from_dict(config)
        self.config = config = vatt_config.resolve(config)
        self.seed_generator = keras.random.SeedGenerator()
        if config.variant == "agnostic":
            self.encoder = SharedEncoder(config, name="encoder", dtype=self.dtype_policy)
            self.encoder.build()
            self.pooled_dims = dict.fromkeys(config.modalities, self.encoder.output_dim)
            return
        self.pooled_dims = {}
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for modality in config.modalities:
            name = f"{modality}_tower"
            tower = Tower(modality, config, name=name, dtype=self.dtype_policy)
            tower.build()
            setattr(self, name, tower)
            self.pooled_dims[modality] = tower.output_dim

    @property
    def modalities(self) -> list[str]:
        """What the model takes, as its config names it."""
        return self.config.modalities

    def tower(self, modality: str) -> Tower:
        """A modality's tower (modality-specific variant)."""
        return getattr(self, f"{modality}_tower")

    def features(self, modality, inputs, *, pooled_only=False, training=False, seed=None):
        """All output rows of one modality.

        Args:
            modality: `video`, `audio` or `text`.
            inputs: that modality's input, without views or candidates.
            pooled_only: only row 0, which costs less.
            training: bool.
            seed: int32[2]; needed in training.

        Returns:
            float[batch, 1 + tokens, dim]; row 0 is the pooled one.
        """
        self._require(modality)
        options = {"pooled_only": pooled_only, "training": training, "seed": seed}
        if self.config.variant == "agnostic":
            return self.encoder(inputs, modality=modality, **options)
        return self.tower(modality)(inputs, **options)

    def encode(self, inputs, *, training=False, seed=None):
        """Pooled rows by modality; local to a replica and always compilable.

        Args:
            inputs, training, seed: see the class.

        Returns:
            float[batch, dim] for each modality given, or float[batch, views or candidates, dim]
            where the input has that axis.
        """
        if training and seed is None:
            seed = tf.cast(self.seed_generator.next(), tf.int32)
        return {
            modality: self._encode_one(modality, inputs[modality], training, _seed(seed, modality))
            for modality in MODALITIES
            if modality in inputs
        }

    def open(self, inputs, *, training=False, seed=None) -> dict[str, OpenRows]:
        """Pooled rows as they stand before the last Dense of their stack; see `close`.

        Args:
            inputs: see the class.
            training: bool.
            seed: int32[2]; needed in training.

        Returns:
            OpenRows by modality: residual float[batch, (views or candidates,) dim], hidden
            float[batch, (views or candidates,) mlp_dim].
        """
        opened = {}
        for modality in (name for name in MODALITIES if name in inputs):
            self._require(modality)
            folded, extra = _fold(modality, inputs[modality])
            options = {"pooled_only": True, "training": training, "seed": _seed(seed, modality)}
            if self.config.variant == "agnostic":
                rows = self.encoder.open(folded, modality, **options)
            else:
                rows = self.tower(modality).open(folded, **options)
            opened[modality] = OpenRows(
                *(tf.reshape(value, [-1, *extra, value.shape[-1]]) for value in rows)
            )
        return opened

    def close(self, opened, *, training=False, seed=None) -> dict[str, tf.Tensor]:
        """`encode` from what `open` gave, with the same `training` and `seed`."""
        pooled = {}
        for modality, rows in opened.items():
            folded = OpenRows(*(_as_rows(value) for value in rows))
            options = {"training": training, "seed": _seed(seed, modality)}
            if self.config.variant == "agnostic":
                closed = self.encoder.close(folded, modality, **options)
            else:
                closed = self.tower(modality).close(folded, **options)
            pooled[modality] = _like(closed, rows.residual)
        return pooled

    def drop_residual(self, modality, values, *, training=False, seed=None) -> tf.Tensor:
        """The dropout of `close` between the last Dense and its residual; its own adjoint.

        Args:
            modality: whose rows they are.
            values: float[batch, (views or candidates,) dim].
            training, seed: those of `close`.
        """
        module = self.encoder if self.config.variant == "agnostic" else self.tower(modality)
        dropped = module.drop_residual(
            _as_rows(values), training=training, seed=_seed(seed, modality)
        )
        return _like(dropped, values)

    def _encode_one(self, modality, values, training, seed):
        folded, extra = _fold(modality, values)
        rows = self.features(modality, folded, pooled_only=True, training=training, seed=seed)
        return instances.unfold(rows[:, 0], extra)

    def _require(self, modality):
        if modality not in self.config.modalities:
            raise UserError(
                f"the model has no {modality}; it was built for {self.config.modalities}"
            )

    def set_word_vectors(self, vectors) -> None:
        """Replaces the word table by `vectors: float[vocabulary, embedding_dim]`.

        Raises:
            UserError: the shape differs from the table's.
        """
        table = self.word_table
        if tuple(vectors.shape) != tuple(table.shape):
            raise UserError(
                f"the word vectors have shape {tuple(vectors.shape)}, the table "
                f"{tuple(table.shape)}; set text.vocabulary_size and text.embedding_dim to match"
            )
        table.assign(vectors)

    @property
    def word_table(self) -> keras.Variable:
        """float32[vocabulary, embedding_dim]."""
        if self.config.variant == "agnostic":
            return self.encoder.text_tokens.words.embeddings
        return self.text_tower.tokens.words.embeddings

    def get_config(self):
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _seed(seed, modality):
    return randomness.fold_in_optional(seed, modality)


def _fold(modality, values):
    """Input with views or candidates in the batch axis, and the size of that axis as a list."""
    return instances.fold(tf.convert_to_tensor(values), _EXAMPLE_RANKS[modality], modality)


def _as_rows(values):
    return tf.reshape(values, [-1, 1, values.shape[-1]])


def _like(rows, values):
    return tf.reshape(rows, [-1, *values.shape[1:-1], rows.shape[-1]])
