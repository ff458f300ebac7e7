"""A frozen text encoder: a SavedModel that gives vectors of the words of sentences.

Its signature `encode_words` takes `sentences: string[batch]`, whose words are separated by white
space, and gives `word_emb: float32[batch, words, width]`, `lstm1` and `lstm2:
float32[batch, words, 2 * width]`, forward half first, and `sequence_len: int32[batch]`. `words` is
the length of the longest sentence, at least 1; what stands behind `sequence_len` is zero. An
encoder that reads both ways at once has the same states in both halves.

Source: Akbari and others (CVPR 2019), section 3: word vectors and the two layers of ELMo (Peters
and others, 2018).
"""

import concurrent.futures
import importlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from mm_models.errors import UserError

SIGNATURE, INPUT = "encode_words", "sentences"
WORDS, FIRST, SECOND, LENGTHS = "word_emb", "lstm1", "lstm2", "sequence_len"
NUM_LAYERS = 3
# Dtype and rank by name.
_OUTPUTS = {
    WORDS: (tf.float32, 3),
    FIRST: (tf.float32, 3),
    SECOND: (tf.float32, 3),
    LENGTHS: (tf.int32, 1),
}
_MODEL_INFO = "assets.extra/model_info.json"
# Of libraries that a graph may need, those that stand in `mmstack export`'s model information.
_LIBRARIES = ("tensorflow_text",)
_PROBE = ("one two", "", "three")
_PROBE_LENGTHS = (2, 0, 1)


class EncodedWords(NamedTuple):
    """Words of sentences, cropped and padded to a number of words.

    Attributes:
        layers: float32[batch, num_words, 3, 2 * width] the word vectors twice side by side, and
            both layers; zeros behind the last word.
        word_mask: float32[batch, num_words].
        num_words: int32[batch] words of each sentence before it was cropped.
    """

    layers: tf.Tensor
    word_mask: tf.Tensor
    num_words: tf.Tensor


class FrozenWordEncoder:
    """A loaded encoder.

    Attributes:
        path: folder of the SavedModel.
        width: of a word vector; layers are twice as wide.
    """

    def __init__(self, path: str, field: str):
        """Loads the model, on the host, and runs it on a few words.

        Args:
            path: folder with `saved_model.pb`.
            field: what names the path in messages.

        Raises:
            UserError: it cannot be loaded, has no such signature, or one that takes or gives
                something else.
        """
        self.path = path
        self._field = field
        try:
            # Kept, since a signature does not keep the variables of its model. In a thread of its
            # own there is no scope of a strategy, which would spread them over replicas.
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                self._model: Any = pool.submit(_load, path).result()
        except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{field} is {path!r}, which cannot be loaded: {reason}; name a SavedModel with "
                f"the signature {SIGNATURE!r}"
            ) from error
        self._function = self._signature()
        self.width = self._probed_width()

    def encode(self, sentences: tf.Tensor, num_words: int) -> EncodedWords:
        """The words of `sentences: string[batch]`, at most `num_words` of each; works in graphs.

        Layers of text that is longer are those of the whole sentence, cropped afterwards.
        """
        found = self._function(**{INPUT: sentences})
        lengths = found[LENGTHS]
        mask = tf.sequence_mask(tf.minimum(lengths, num_words), num_words, tf.float32)
        stacked = [tf.tile(found[WORDS], [1, 1, 2]), found[FIRST], found[SECOND]]
        layers = tf.stack([_fit(layer, num_words) for layer in stacked], axis=2)
        layers = tf.where(mask[:, :, tf.newaxis, tf.newaxis] > 0, layers, 0.0)
        shape = [sentences.shape[0], num_words, NUM_LAYERS, 2 * self.width]
        return EncodedWords(
            tf.ensure_shape(layers, shape),
            tf.ensure_shape(mask, shape[:2]),
            tf.ensure_shape(lengths, shape[:1]),
        )

    @property
    def module(self) -> Any:
        """Tracks what the model needs, where a graph that holds it is saved."""
        return self._model

    def _signature(self) -> Any:
        signatures = self._model.signatures
        if SIGNATURE not in signatures:
            raise UserError(
                f"{self._field} is {self.path!r}, which has no signature {SIGNATURE!r}, only "
                f"{', '.join(sorted(signatures)) or 'none at all'}; export a text encoder, or add "
                f"a function of {INPUT!r} that gives {', '.join(_OUTPUTS)}"
            )
        function = signatures[SIGNATURE]
        taken = function.structured_input_signature[1]
        given = function.structured_outputs
        fits = set(taken) == {INPUT} and _is(taken[INPUT], tf.string, 1)
        fits = fits and taken[INPUT].shape.as_list() == [None]
        if not fits or any(
            name not in given or not _is(given[name], *kind) for name, kind in _OUTPUTS.items()
        ):
            raise UserError(
                f"{self._field} is {self.path!r}, whose {SIGNATURE} takes {_described(taken)} and "
                f"gives {_described(given)}; it must take {INPUT}: string[batch] and give "
                f"{WORDS}: float32[batch, words, width], {FIRST} and {SECOND}: float32[batch, "
                f"words, 2 * width] and {LENGTHS}: int32[batch]"
            )
        return function

    def _probed_width(self) -> int:
        """The width of a word vector. Raises UserError for shapes that do not go together."""
        found = self._function(**{INPUT: tf.constant(_PROBE)})
        lengths = tuple(found[LENGTHS].numpy().tolist())
        if lengths != _PROBE_LENGTHS:
            raise UserError(
                f"{self._field} is {self.path!r}, which finds {lengths} words in {_PROBE}; words "
                f"are what white space separates, {_PROBE_LENGTHS}"
            )
        width = found[WORDS].shape[2]
        expected = {WORDS: width, FIRST: 2 * width, SECOND: 2 * width}
        for name, size in expected.items():
            wanted = [len(_PROBE), max(_PROBE_LENGTHS), size]
            if found[name].shape.as_list() != wanted:
                raise UserError(
                    f"{self._field} is {self.path!r}, whose {name} is "
                    f"{found[name].shape.as_list()} for sentences of {_PROBE_LENGTHS} words; with "
                    f"word vectors of {width} it must be {wanted}: both directions side by side"
                )
        return width


def _load(path: str) -> Any:
    _import_libraries(path)
    # Data sets run on the host, where accelerators' variables cannot be read.
    with tf.device("CPU:0"):
        return tf.saved_model.load(path)


def _import_libraries(path: str) -> None:
    """Imports what the graph of an export needs beyond TensorFlow."""
    info = f"{path}/{_MODEL_INFO}"
    if not tf.io.gfile.exists(info):
        return
    with tf.io.gfile.GFile(info) as file:
        needed = json.loads(file.read()).get("op_libraries", [])
    for library in set(needed) & set(_LIBRARIES):
        importlib.import_module(library)


def _fit(layer: tf.Tensor, num_words: int) -> tf.Tensor:
    """Crops or pads float32[batch, words, dim] to float32[batch, num_words, dim]."""
    missing = tf.maximum(num_words - tf.shape(layer)[1], 0)
    return tf.pad(layer[:, :num_words], [[0, 0], [0, missing], [0, 0]])


def _is(spec: Any, dtype: tf.DType, rank: int) -> bool:
    return spec.dtype == dtype and spec.shape.rank in (None, rank)


def _described(specs: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}: {spec.dtype.name}{'[?]' if spec.shape.rank is None else spec.shape.as_list()}"
        for name, spec in specs.items()
    )
