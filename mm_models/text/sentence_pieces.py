"""SentencePiece inside the graph: strings to ids and back, with sentinels as the last ids."""

import functools
import re
import weakref
from collections.abc import Iterable

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.sentinels import SENTINEL, sentinel_id, with_sentinels
from mm_models.text.tokenizer_base import PAD_ID, Tokenizer, unreadable_vocabulary

_SPACE = "\u2581"
_BYTE = re.compile("<0x([0-9A-F]{2})>")
END_ID = 1
UNKNOWN_ID = 2


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model. One without padding at id 0 has all its ids moved up by one.

    Works in exported graphs in both directions. Sentinels are written `<extra_id_0>` in strings.

    Args:
        vocabulary_path: the `.model` file.
        num_sentinels: sentinels to put behind the pieces of a model that has none of its own; one
            that has some keeps those.

    Attributes:
        num_sentinels: sentinels; `sentinel_id(0)` is `vocabulary_size - 1`, and they count down.
        end_id: id of the end of a sequence, or None where the model has no such piece.
        unknown_id: id of what no piece covers.

    Raises:
        UserError: the file cannot be read or is no SentencePiece model.
    """

    def __init__(
        self, vocabulary_path: str, num_sentinels: int = 0, name: str = "sentencepiece_tokenizer"
    ):
        super().__init__(name=name)
        self._path = vocabulary_path
        self._model = _read(vocabulary_path)
        pieces = self._load(self._model)
        self.num_sentinels = _count_sentinels(pieces)
        if num_sentinels and not self.num_sentinels:
            self._model = with_sentinels(self._model, num_sentinels)
            self.num_sentinels = num_sentinels
            pieces = self._load(self._model)
        self._by_graph = weakref.WeakKeyDictionary()
        self._offset = 0 if pieces.id_to_piece(0) == "<pad>" else 1
        self.vocabulary_size = pieces.get_piece_size() + self._offset
        self.end_id = None if pieces.eos_id() < 0 else pieces.eos_id() + self._offset
        self.unknown_id = pieces.unk_id() + self._offset

    def _operations(self):
        """The operations in the graph that is being built, or outside of any.

        They read a resource that belongs to the operation that makes it. Made outside graphs, it
        vanishes with the next call that sets TensorFlow's seed, from under every graph that uses
        it; so each graph makes its own, once, and eager code one for each call.
        """
        import tensorflow_text

        def make():
            return tensorflow_text.SentencepieceTokenizer(self._model, out_type=tf.int32)

        if not tf.inside_function():
            return make()
        graph = tf.compat.v1.get_default_graph()
        if graph not in self._by_graph:
            self._by_graph[graph] = make()
        return self._by_graph[graph]

    def _load(self, model: bytes):
        import sentencepiece

        try:
            return sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError) as error:
            raise UserError(
                f"{self._path} is not a SentencePiece model; give the .model file that the "
                "trainer wrote"
            ) from error

    def sentinel_id(self, number: int) -> int:
        """Id of sentinel `number`. Raises UserError where the model has fewer."""
        if not 0 <= number < self.num_sentinels:
            raise UserError(
                f"sentinel {number} is asked of {self._path}, which has {self.num_sentinels}; train"
                " a vocabulary with `mmstack vocabulary --kind=sentencepiece --extra_ids`"
            )
        return sentinel_id(self.vocabulary_size, number)

    def split(self, text: str) -> list[str]:
        """The pieces of one string, outside the graph; joined they are the string as the model
        normalises it. A character that is spelled in bytes is one piece."""
        parts, spelled = [], b""
        for piece in self._pieces.encode(text, out_type=str):
            byte = _BYTE.fullmatch(piece)
            spelled += bytes([int(byte[1], 16)]) if byte else b""
            try:
                parts.append(spelled.decode() if byte else piece.replace(_SPACE, " "))
                spelled = b""
            except UnicodeDecodeError:
                continue  # More bytes of the character follow.
        parts[:1] = [part.removeprefix(" ") for part in parts[:1]]
        return [part for part in parts if part]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, outside the graph: a piece begins with a blank where a word
        does. Empty for the end, and for ids that stand for nothing; bytes that are no character by
        themselves are `<0xE4>`."""
        return [self._piece(int(number) - self._offset) for number in ids]

    def _piece(self, number: int) -> str:
        known = 0 <= number < self.vocabulary_size - self._offset
        if not known or self._pieces.is_control(number):
            return ""
        piece = self._pieces.id_to_piece(number).replace(_SPACE, " ")
        byte = _BYTE.fullmatch(piece)
        return chr(int(byte[1], 16)) if byte and int(byte[1], 16) < 0x80 else piece

    @functools.cached_property
    def _pieces(self):
        return self._load(self._model)

    def _ragged_ids(self, strings):
        # A sentinel is one piece only behind a blank.
        strings = tf.strings.regex_replace(strings, r" *(<extra_id_\d+>)", r" \1")
        return self._operations().tokenize(strings) + self._offset

    def ragged(
        self, strings: tf.Tensor, num_tokens: int | None = None, *, end: bool = False
    ) -> tf.RaggedTensor:
        """Ids of each string.

        Args:
            strings: string[rows], UTF-8.
            num_tokens: most ids of a row, the end included; None for all.
            end: close every row with `end_id`, also one that was cut.

        Returns:
            int32[rows, (tokens)].
        """
        ids = self._ragged_ids(tf.convert_to_tensor(strings, tf.string))
        if num_tokens is not None:
            ids = ids[:, : num_tokens - end]
        if not end:
            return ids
        ends = tf.fill([ids.nrows(), 1], tf.constant(self._require_end(), tf.int32))
        return tf.concat([ids, tf.RaggedTensor.from_tensor(ends)], axis=1)

    def tokenize(self, strings: tf.Tensor, num_tokens: int, *, end: bool = False) -> tf.Tensor:
        """Ids, cut or padded on the right: int32[..., num_tokens] of string[...].

        Args:
            strings: string[...], UTF-8.
            num_tokens: length of each row of ids.
            end: close every row with `end_id` before the padding, also one that was cut.
        """
        if not end:
            return super().tokenize(strings, num_tokens)
        strings = tf.convert_to_tensor(strings, tf.string)
        ragged = self.ragged(tf.reshape(strings, [-1]), num_tokens, end=True)
        ids = ragged.to_tensor(default_value=PAD_ID, shape=[None, num_tokens])
        ids = tf.reshape(ids, tf.concat([tf.shape(strings), [num_tokens]], axis=0))
        return tf.ensure_shape(ids, strings.shape.concatenate(num_tokens))

    def detokenize(self, ids: tf.Tensor) -> tf.Tensor:
        """Text of ids; what follows the first end is dropped, and so are pads and foreign ids.

        Args:
            ids: int32[..., tokens]; ids beyond the vocabulary, as of the padding rows of a word
                table, stand for nothing.

        Returns:
            string[...].
        """
        ids = tf.convert_to_tensor(ids, tf.int32)
        rows = tf.reshape(ids, [-1, tf.shape(ids)[-1]])
        kept = tf.logical_and(rows != PAD_ID, rows < self.vocabulary_size)
        kept = tf.logical_and(kept, rows >= self._offset)
        if self.end_id is not None:
            kept = tf.logical_and(kept, tf.cumsum(tf.cast(rows == self.end_id, tf.int32), 1) == 0)
        ragged = tf.ragged.boolean_mask(rows - self._offset, kept)
        texts = self._operations().detokenize(ragged)
        return tf.ensure_shape(tf.reshape(texts, tf.shape(ids)[:-1]), ids.shape[:-1])

    def _require_end(self) -> int:
        if self.end_id is None:
            raise UserError(
                f"{self._path} has no </s> piece to end a sequence with; train a vocabulary with "
                "`mmstack vocabulary --kind=sentencepiece`"
            )
        return self.end_id


def require_text_layout(tokenizer: SentencePieceTokenizer, path: str) -> None:
    """Raises UserError unless ids 0, 1 and 2 are padding, end and unknown, as encoder-decoders
    take them."""
    found = (tokenizer.end_id, tokenizer.unknown_id)
    if found != (END_ID, UNKNOWN_ID):
        raise UserError(
            f"{path} has its end at id {found[0]} and unknown text at id {found[1]}; text to text "
            f"models need {END_ID} and {UNKNOWN_ID}: train a vocabulary with "
            "`mmstack vocabulary --kind=sentencepiece`"
        )


def _count_sentinels(pieces) -> int:
    size = pieces.get_piece_size()
    count = 0
    while count < size and pieces.id_to_piece(size - 1 - count) == SENTINEL.format(count):
        count += 1
    return count


def _read(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise unreadable_vocabulary(path, error) from error
