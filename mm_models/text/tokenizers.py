"""Strings to ids inside the graph, by table of words, WordPiece or SentencePiece."""

import abc

import tensorflow as tf

from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.tokenizer_base import PAD_ID, Tokenizer, unreadable_vocabulary

SPECIAL_WORDS = ("<pad>", "<bos>", "<eos>", "<unk>")


class TableTokenizer(Tokenizer):
    """Splits strings into words and looks every word up in a table.

    The file has a word a line (its index is the line's), or an index, a space and a word. It holds
    `<pad>` (index 0), `<bos>`, `<eos>` and `<unk>`; words it lacks become `<unk>`. Nothing is put
    in front or behind. The file travels as an asset of an exported model.

    Attributes:
        begin_id, end_id: of `<bos>` and `<eos>`.

    Raises:
        UserError: the file cannot be read, a line is malformed or repeated, or a special word is
        missing.
    """

    def __init__(self, vocabulary_path: str, name: str):
        super().__init__(name=name)
        lines = _read_lines(vocabulary_path)
        indexed = _is_indexed(lines)
        indices = _checked_indices(lines, vocabulary_path)
        self.vocabulary_size = max(indices.values()) + 1
        self.begin_id, self.end_id = indices["<bos>"], indices["<eos>"]
        self.unknown_id = indices["<unk>"]
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                vocabulary_path,
                key_dtype=tf.string,
                key_index=1 if indexed else tf.lookup.TextFileIndex.WHOLE_LINE,
                value_dtype=tf.int64,
                value_index=0 if indexed else tf.lookup.TextFileIndex.LINE_NUMBER,
                delimiter=" ",
            ),
            default_value=self.unknown_id,
        )

    @abc.abstractmethod
    def _words(self, strings: tf.Tensor) -> tf.RaggedTensor:
        """string[rows, (words)] of string[rows]."""

    def _ragged_ids(self, strings):
        words = self._words(strings)
        ids = tf.cast(self._table.lookup(words.flat_values), tf.int32)
        return words.with_flat_values(ids)


class WordTokenizer(TableTokenizer):
    """Deletes ASCII punctuation, lower-cases, splits on white space and looks every word up.

    The words of the file are lower-case; see `TableTokenizer`.

    Source: VATT, appendix A.2.1; the form of dmvr's word tokenizer.
    """

    def __init__(self, vocabulary_path: str, name: str = "word_tokenizer"):
        super().__init__(vocabulary_path, name)

    def _words(self, strings):
        strings = tf.strings.regex_replace(strings, "[[:punct:]]", "")
        return tf.strings.split(tf.strings.lower(strings, encoding="utf-8"))


class WhitespaceTokenizer(TableTokenizer):
    """Splits on ASCII white space and looks every word up as it stands, with case and punctuation.

    See `TableTokenizer` for the file.
    """

    def __init__(self, vocabulary_path: str, name: str = "whitespace_tokenizer"):
        super().__init__(vocabulary_path, name)

    def _words(self, strings):
        return tf.strings.split(strings)


class WordPieceTokenizer(Tokenizer):
    """BERT's lower-casing, accent-stripping WordPiece, without `[CLS]` and `[SEP]`.

    Args:
        vocabulary_path: a piece a line; `[PAD]` first, `[UNK]` anywhere.

    Raises:
        UserError: the file cannot be read or lacks one of the two.
    """

    def __init__(self, vocabulary_path: str, name: str = "wordpiece_tokenizer"):
        import tensorflow_text

        super().__init__(name=name)
        pieces = _read_lines(vocabulary_path)
        if pieces[0] != "[PAD]" or "[UNK]" not in pieces:
            raise UserError(
                f"WordPiece vocabulary {vocabulary_path} must begin with [PAD] and hold [UNK]; "
                "use a vocabulary in BERT's form"
            )
        self.vocabulary_size = len(pieces)
        self.unknown_id = pieces.index("[UNK]")
        self._tokenizer = tensorflow_text.FastBertTokenizer(
            vocab=pieces,
            token_out_type=tf.int32,
            unknown_token="[UNK]",
            lower_case_nfd_strip_accents=True,
        )

    def _ragged_ids(self, strings):
        return self._tokenizer.tokenize(strings)


def build_tokenizer(kind: str, vocabulary_path: str) -> Tokenizer:
    """The tokenizer of a kind: `word`, `whitespace`, `wordpiece` or `sentencepiece`.

    Raises:
        UserError: unknown kind, no path, or a vocabulary the kind cannot use.
    """
    kinds = {
        "word": WordTokenizer,
        "whitespace": WhitespaceTokenizer,
        "wordpiece": WordPieceTokenizer,
        "sentencepiece": SentencePieceTokenizer,
    }
    tokenizer = checks.choose(kinds, kind, "tokenizer")
    if not vocabulary_path:
        raise UserError(
            f"the {kind} tokenizer has no vocabulary; give the path of a vocabulary file "
            "(`mmstack vocabulary` writes one)"
        )
    return tokenizer(vocabulary_path)


def _read_lines(path: str) -> list[str]:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            text = file.read().decode("utf-8")
    except tf.errors.OpError as error:
        raise unreadable_vocabulary(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"vocabulary {path} is not UTF-8 text; convert it") from error
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line != line.strip():
            raise UserError(
                f"vocabulary {path}, line {number} is {line!r}: empty, or with white space "
                "around it; write one entry a line, with plain line ends"
            )
    return lines


def _is_indexed(lines: list[str]) -> bool:
    return all(" " in line for line in lines)


def word_indices(vocabulary_path: str) -> dict[str, int]:
    """Id of each word of a table tokenizer's vocabulary file. Raises UserError as that does."""
    return _checked_indices(_read_lines(vocabulary_path), vocabulary_path)


def _checked_indices(lines: list[str], path: str) -> dict[str, int]:
    words = {word: index for index, word in enumerate(lines)}
    indices = _indexed_words(lines, path) if _is_indexed(lines) else words
    _check_words(indices, len(lines), path)
    return indices


def _indexed_words(lines: list[str], path: str) -> dict[str, int]:
    words = {}
    for number, line in enumerate(lines, start=1):
        index, _, word = line.partition(" ")
        if not index.isdecimal() or not word or " " in word:
            raise UserError(
                f"vocabulary {path}, line {number} is {line!r}; it must be a word, or an index, "
                "one space and a word"
            )
        words[word] = int(index)
    return words


def _check_words(indices: dict[str, int], num_lines: int, path: str) -> None:
    if len(indices) != num_lines or len(set(indices.values())) != num_lines:
        raise UserError(f"vocabulary {path} holds a word or an index twice; each may occur once")
    missing = [word for word in SPECIAL_WORDS if word not in indices]
    if missing:
        raise UserError(f"vocabulary {path} lacks {missing}; add them, <pad> with index 0")
    if indices["<pad>"] != PAD_ID:
        raise UserError(
            f"vocabulary {path} has <pad> at index {indices['<pad>']}; it must be index 0, because "
            "attention hides id 0"
        )
