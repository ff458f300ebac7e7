"""VATT: video, audio and text encoders trained to agree."""

import dataclasses

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import randomness
from mm_models.vatt import config as vatt_config
from mm_models.vatt import costs
from mm_models.vatt.config import MODALITIES, VattConfig
from mm_models.vatt.head import Head
from mm_models.vatt.towers import SharedEncoder, Tower

# Axes of one example's input, without views or candidates.
_EXAMPLE_RANKS = {"video": 4, "audio": 1, "text": 1}


@keras.saving.register_keras_serializable("mmstack")
class VattModel(keras.Model):
    """Encoders of video, audio and text (towers, or one for all) and the head that compares them.

    Every weight exists once the constructor returns.

    Args:
        config: VattConfig, or the dict of one.

    Call arguments:
        inputs: any of
            video: float[batch, frames, height, width, 3] in [-1, 1],
            audio: float[batch, samples] in [-1, 1] (or float[batch, frames, bins], by the config),
            text: int32[batch, tokens], 0 is padding,
            each with one more axis behind the batch: views of video and audio, candidates of text.
            Other keys, such as masks, are left alone.
        training: bool.
        seed: int32[2], from which all dropout follows; None draws one (for `fit`).

    Returns:
        `encode` and `project` merged.

    Raises:
        UserError: a config that makes no sense; an input for a modality the model does not have.

    Source: VATT, section 3.
    """

    def __init__(self, config: VattConfig | dict, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = vatt_config.from_dict(config)
        self.config = config = vatt_config.resolve(config)
        self.seed_generator = keras.random.SeedGenerator()
        if config.variant == "agnostic":
            self.encoder = SharedEncoder(config, name="encoder", dtype=self.dtype_policy)
            dims = dict.fromkeys(config.modalities, self.encoder.output_dim)
        else:
            self.towers = {
                modality: Tower(modality, config, name=f"{modality}_tower", dtype=self.dtype_policy)
                for modality in config.modalities
            }
            dims = {modality: tower.output_dim for modality, tower in self.towers.items()}
        self.head = Head(config.head, dims, config.preset, name="head", dtype=self.dtype_policy)
        self.build()

    def build(self, input_shape=None):
        if self.config.variant == "agnostic":
            self.encoder.build()
        else:
            for tower in self.towers.values():
                tower.build()
        self.head.build()
        self.built = True

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
        if modality not in self.config.modalities:
            raise UserError(
                f"the model has no {modality}; it was built for {self.config.modalities}"
            )
        options = {"pooled_only": pooled_only, "training": training, "seed": seed}
        if self.config.variant == "agnostic":
            return self.encoder(inputs, modality=modality, **options)
        return self.towers[modality](inputs, **options)

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
            modality: self._encode_one(
                modality,
                tf.convert_to_tensor(inputs[modality]),
                training,
                randomness.fold_in_optional(seed, modality),
            )
            for modality in MODALITIES
            if modality in inputs
        }

    def _encode_one(self, modality, values, training, seed):
        rank = _EXAMPLE_RANKS[modality]
        if modality == "audio" and self.config.audio.input == "spectrogram":
            rank = 2
        extra = values.shape[1 : values.shape.rank - rank]
        if len(extra) > 1:
            raise UserError(
                f"{modality} has shape {tuple(values.shape)}; at most one axis may stand between "
                f"the batch and the {rank} axes of an example"
            )
        folded = tf.reshape(values, [-1, *values.shape[1 + len(extra) :]])
        rows = self.features(modality, folded, pooled_only=True, training=training, seed=seed)
        return tf.reshape(rows, [-1, *extra, rows.shape[-1]])

    def project(self, pooled, *, training=False):
        """Places of the pooled rows in the common spaces: float32, see `Head`."""
        return self.head(dict(pooled), training=training)

    def call(self, inputs, training=False, seed=None):
        pooled = self.encode(inputs, training=training, seed=seed)
        return {**pooled, **self.project(pooled, training=training)}

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
            return self.encoder.tokens["text"].words.embeddings
        return self.towers["text"].tokens.words.embeddings

    def tokens_per_example(self, modalities, training: bool, num_candidates: int = 1) -> int:
        """Tokens, aggregate ones included, that the encoders process for one example."""
        return costs.tokens_per_example(self.config, modalities, training, num_candidates)

    def flops_per_example(self, modalities, training: bool, num_candidates: int = 1) -> float:
        """Forward floating-point operations for one example, a multiply-add counted as two."""
        return costs.flops_per_example(self.config, modalities, training, num_candidates)

    def get_config(self):
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)
