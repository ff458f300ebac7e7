"""What shared code may ask of a model; a system's own code may ask its own model for more.

Each protocol is one ability. Evaluators, signatures and tasks name the one that they need, and any
Keras model that has the methods has the ability; what a method of a model takes beyond the
protocol's has a default.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import tensorflow as tf

from mm_models.decoding.state import DecoderState


@runtime_checkable
class Embeds(Protocol):
    """Gives inputs of several modalities places in common spaces."""

    @property
    def modalities(self) -> Sequence[str]:
        """What the model takes, such as `video`, `audio`, `text`."""

    def embed(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Pooled rows and places by name.

        Args:
            inputs: by modality, without an axis of views; text is int32[batch, candidates, tokens].

        Returns:
            float[batch, dim] by modality and by `<modality>_<space>`; of text float[batch,
            candidates, dim].
        """

    def spaces(self, first: str, second: str) -> tuple[str, str]:
        """Names of the two outputs of `embed` by which two modalities are compared, in their order.

        Raises:
            UserError: a modality that the model does not have.
        """


@runtime_checkable
class EmbedsByPatch(Embeds, Protocol):
    """Embeds, and can cut videos into patches of several sizes."""

    @property
    def patches(self) -> Collection[str]:
        """Names of the patches that `embed` takes."""

    def embed(self, inputs: Mapping[str, tf.Tensor], patch: str = ...) -> dict[str, tf.Tensor]:
        """As `Embeds.embed`, by the named patches; without a name by the model's default ones."""


@runtime_checkable
class Classifies(Protocol):
    """Gives classes of one modality's inputs logits."""

    @property
    def modality(self) -> str:
        """What is looked at."""

    def __call__(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """float32[batch, classes] logits of {modality: inputs}."""


@runtime_checkable
class MapsFrames(Protocol):
    """Gives the regions of pictures and videos features, before they are pooled."""

    @property
    def modalities(self) -> Sequence[str]:
        """What the model takes; only one with `video` among them can map frames."""

    def feature_maps(self, video: tf.Tensor) -> tf.Tensor:
        """float32[batch, rows, columns, dim]: features of the regions, averaged over time.

        Args:
            video: float[batch, frames, height, width, 3] in [-1, 1], of a size that the model
                takes.
        """


@runtime_checkable
class Writes(Protocol):
    """Writes a sequence of ids, one after the other (mm_models/decoding)."""

    start_id: int
    end_id: int

    def start_decoding(
        self, inputs: Mapping[str, tf.Tensor], max_length: int, num_beams: int = 1
    ) -> DecoderState:
        """Reads the inputs once; what `decode_step` needs from then on.

        Args:
            inputs: by name, with leading axis batch.
            max_length: most ids that are written.
            num_beams: rows for each example, side by side.
        """

    def decode_step(
        self, ids: tf.Tensor, position: tf.Tensor, state: DecoderState
    ) -> tuple[tf.Tensor, DecoderState]:
        """Reads one id of every row.

        Args:
            ids: int32[rows], which stand at `position`.
            position: int32[] ids read before.
            state: of `start_decoding`, or what a step before gave.

        Returns:
            float32[rows, vocab] logits of the id after `ids`, and the next state.
        """


@runtime_checkable
class Scores(Protocol):
    """Says how probable given sequences of ids are as answers."""

    def score(
        self, inputs: Mapping[str, tf.Tensor], label_ids: tf.Tensor, labels_per_call: int = 8
    ) -> tf.Tensor:
        """Reads the inputs once, and every label after them.

        Args:
            inputs: by name, with leading axis batch.
            label_ids: int32[labels, tokens], each with its end id, 0 is padding; or int32[batch,
                labels, tokens] where every row has labels of its own.
            labels_per_call: labels that are read side by side.

        Returns:
            float32[batch, labels] sums of log p over the tokens of a label.
        """


class GroundedVectors(NamedTuple):
    """Where in pictures vectors of words are found.

    Attributes:
        heat: float32[batch, words, frames, rows, columns, levels], at least 0.
        scores: float32[batch, words, frames, levels] how well what each level finds goes with the
            word.
    """

    heat: tf.Tensor
    scores: tf.Tensor


class WordVectors(NamedTuple):
    """Sentences in the space of regions.

    Attributes:
        words: float32[batch, words, dim].
        sentence: float32[batch, dim].
    """

    words: tf.Tensor
    sentence: tf.Tensor


@runtime_checkable
class Grounds(Protocol):
    """Finds the regions of pictures that words are about.

    The methods may give tuples of their own classes whose fields are so called.
    """

    @property
    def levels(self) -> Sequence[str]:
        """Names of the levels of features, in the order of their axis."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of regions."""

    def embed_images(self, video: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, rows * columns, levels, dim] of float[batch, frames, height,
        width, 3] in [-1, 1]."""

    def embed_words(self, phrase_layers: tf.Tensor, phrase_word_mask: tf.Tensor) -> WordVectors:
        """Places of words and sentences.

        Args:
            phrase_layers: float32[batch, words, 3, 2 * width] of a frozen encoder
                (mm_models/text/word_encoder.py).
            phrase_word_mask: float32[batch, words].
        """

    def ground(self, vectors: tf.Tensor, regions: tf.Tensor) -> GroundedVectors:
        """Where each vector is in each frame.

        Args:
            vectors: float32[batch, words, dim].
            regions: of `embed_images`.
        """
