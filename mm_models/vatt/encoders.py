"""The encoders of the configured modalities, without a head."""

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import instances, randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer.stack import StackRunner, run_stack
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import MODALITIES, VattConfig
from mm_models.vatt.towers import SharedEncoder, Tower

# Axes of one example's input, without views or candidates.
_EXAMPLE_RANKS = {"video": 4, "audio": 1, "text": 1}


class VattEncoders(SavedLayer, keras.Model):
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
        self.config = config = vatt_config.as_resolved(config)
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

    def features(
        self,
        modality,
        inputs,
        *,
        pooled_only=False,
        training=False,
        seed=None,
        run_stack: StackRunner = run_stack,
    ):
        """All output rows of one modality.

        Args:
            modality: `video`, `audio` or `text`.
            inputs: that modality's input, without views or candidates.
            pooled_only: only row 0, which costs less.
            training: bool.
            seed: int32[2]; needed in training.
            run_stack: how the transformer stack is run.

        Returns:
            float[batch, 1 + tokens, dim]; row 0 is the pooled one.
        """
        self._require(modality)
        options = {"training": training, "seed": seed, "run_stack": run_stack}
        options["pooled_only"] = pooled_only
        if self.config.variant == "agnostic":
            return self.encoder(inputs, modality=modality, **options)
        return self.tower(modality)(inputs, **options)

    def feature_maps(self, video) -> tf.Tensor:
        """Tokens of the video, averaged over time; see `contracts.MapsFrames`.

        Args:
            video: float[batch, frames, height, width, 3] in [-1, 1].

        Raises:
            UserError: the model has no video.
        """
        tokens = self.features("video", video)[:, 1:]
        patch = self.config.video.patch_shape
        grid = [size // side for size, side in zip(video.shape[1:4], patch, strict=True)]
        # [batch, frames * rows * columns, dim] -> [batch, frames, rows, columns, dim]
        blocks = tf.reshape(tokens, [-1, *grid, tokens.shape[-1]])
        return tf.reduce_mean(tf.cast(blocks, tf.float32), axis=1)

    def encode(self, inputs, *, training=False, seed=None, run_stack: StackRunner = run_stack):
        """Pooled rows by modality; local to a replica and always compilable.

        Args:
            inputs, training, seed: see the class.
            run_stack: how the transformer stack is run, once for each modality given.

        Returns:
            float[batch, dim] for each modality given, in the order of `MODALITIES`, or float[batch,
            views or candidates, dim] where the input has that axis.
        """
        if training and seed is None:
            seed = tf.cast(self.seed_generator.next(), tf.int32)
        options = {"training": training, "seed": seed, "run_stack": run_stack}
        return {
            modality: self._encode_one(modality, inputs[modality], **options)
            for modality in MODALITIES
            if modality in inputs
        }

    def _encode_one(self, modality, values, *, seed, **options):
        folded, extra = instances.fold(
            tf.convert_to_tensor(values), _EXAMPLE_RANKS[modality], modality
        )
        seed = randomness.fold_in_optional(seed, Purpose(modality))
        rows = self.features(modality, folded, pooled_only=True, seed=seed, **options)
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
