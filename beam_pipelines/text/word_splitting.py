"""Words of a text, split the way the models' tokenizers split it. Imports no TensorFlow."""

import string
import unicodedata

_ASCII_SPACE = "\t\n\v\f\r "
_SPACE_TO_BLANK = str.maketrans(dict.fromkeys(_ASCII_SPACE, " "))
_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CJK_RANGES = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


def normalised_words(text: str) -> list[str]:
    """Words of `text`: ASCII punctuation deleted, lower-cased, split on ASCII white space.

    This is what the word tokenizer of the models does inside the graph.

    Source: VATT, appendix A.2.1.
    """
    return whitespace_words(text.translate(_DELETE_PUNCTUATION).lower())


def whitespace_words(text: str) -> list[str]:
    """Words of `text` as they stand, split on ASCII white space.

    This is what the whitespace tokenizer of the models does inside the graph.
    """
    return [word for word in text.translate(_SPACE_TO_BLANK).split(" ") if word]


def wordpiece_words(text: str) -> list[str]:
    """Words of `text` before WordPiece splits them, as BERT's uncased tokenizer makes them.

    Case-folded, accents stripped, control characters dropped; every punctuation mark and every
    Chinese character stands alone.
    """
    pieces = []
    for character in unicodedata.normalize("NFD", text.casefold()):
        category = unicodedata.category(character)
        if character.isspace():
            pieces.append(" ")
        elif _stands_alone(character, category):
            pieces.append(f" {character} ")
        elif category not in ("Mn", "Cc", "Cf"):
            pieces.append(character)
    return "".join(pieces).split()


def _stands_alone(character: str, category: str) -> bool:
    if category.startswith("P") or character in string.punctuation:
        return True
    code = ord(character)
    return any(first <= code <= last for first, last in _CJK_RANGES)
