"""Bytes of a text file → text: right, or refused, never in a wrong encoding."""

import codecs
import re

from beam_pipelines.sources.captions.letters import LANGUAGES, Ideographs, Language

DAMAGED = "\ufffd"
"""Stands for bytes that are none of the file's encoding."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_SAMPLE_BYTES = 2000
# Natural logarithm of how much likelier the best reading must be than the next.
_MARGIN = 4.0
_WORD = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
_MIXED_WORD_COST = 6.0
# Capitals begin words, or whole words are capitals; one behind a small letter is a sign of salad.
_FIRST_CAPITAL_COST = 1.5
_NEXT_CAPITAL_COST = 0.8
_INNER_CAPITAL_COST = 5.0
_INNER_MARK_COST = 5.0
_INNER_MARKS = frozenset("¿¡«»§©®°•£€´“”„")
# Five Hebrew letters have a form of their own at the end of a word, and only there.
_FINAL_FORMS = frozenset("ךםןףץ")
_FINAL_FORM_GAIN = 2.5
_WESTERN_GAIN = 3.0
_MOST_WRONG_SHARE = 0.25
_MOST_NULS_SHARE = 0.01
# One such pair may be text: a capital A with a hat before a space that does not break.
_FEWEST_TWICE = 2


def decode_text(content: bytes, encoding: str = "") -> tuple[str, str]:
    """(text, encoding) of a text file.

    A byte order mark decides; else the text is UTF-8 if its bytes are; else it has `encoding`, or
    that in which it is most likely language. Bytes that are damaged become U+FFFD.

    Args:
        content: the file's bytes.
        encoding: of files that are not UTF-8; empty: detected.

    Raises:
        ValueError: many NUL characters and cut UTF-16, signs of damage, and text that several
            encodings make equally likely.
    """
    text, found = _decoded(content, encoding)
    if text.count("\x00") > _MOST_NULS_SHARE * len(text):
        raise ValueError(f"NUL character at position {text.index(chr(0))}")
    return text, found


def _decoded(content: bytes, encoding: str) -> tuple[str, str]:
    for mark, name in _BOMS:
        if content.startswith(mark):
            return _marked(content, name)
    if name := _escape_encoding(content):
        return content.decode(name, errors="replace"), name
    if name := _unmarked_utf16(content):
        return content.decode(name, errors="replace"), name
    try:
        return _once_decoded(content.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if _is_damaged_utf8(content):
        return content.decode("utf-8", errors="replace"), "utf-8"
    name = encoding or _most_likely(content)
    return content.decode(name, errors="replace"), name


def _marked(content: bytes, name: str) -> tuple[str, str]:
    if name == "utf-8-sig":
        return content.decode(name, errors="replace"), "utf-8"
    try:
        return content.decode(name), name
    except UnicodeDecodeError as error:
        raise ValueError(f"damaged {name.upper()}: {error.reason}") from error


def _escape_encoding(content: bytes) -> str:
    """Seven-bit encodings, which switch character sets by escape sequences."""
    if b"\x1b$)C" in content:
        return "iso2022_kr"
    return "iso2022_jp_2" if b"\x1b$" in content else ""


def _unmarked_utf16(content: bytes) -> str:
    """UTF-16 shows by NULs in every second place, as ASCII characters leave them."""
    if len(content) % 2 or len(content) < 8:
        return ""
    quarter = len(content) // 4
    even, odd = content[0::2].count(0), content[1::2].count(0)
    if odd >= quarter and not even:
        return "utf-16-le"
    return "utf-16-be" if even >= quarter and not odd else ""


def _once_decoded(text: str) -> tuple[str, str]:
    """Undoes UTF-8 that was taken for Windows-1252 and encoded again."""
    if text.isascii():
        return text, "utf-8"
    try:
        once = b"".join(map(_western_byte, text)).decode("utf-8")
    except UnicodeError:
        return text, "utf-8"
    is_twice = sum(not letter.isascii() for letter in once) >= _FEWEST_TWICE
    return (once, "utf-8, encoded twice") if is_twice else (text, "utf-8")


def _western_byte(letter: str) -> bytes:
    # Windows leaves five codes empty; programs that mistake UTF-8 for it pass them through.
    return letter.encode("latin-1") if "\x80" <= letter <= "\x9f" else letter.encode("cp1252")


def _is_damaged_utf8(content: bytes) -> bool:
    """Whether most characters outside ASCII are whole UTF-8, which chance hardly makes."""
    text = content.decode("utf-8", errors="replace")
    wrong = text.count(DAMAGED)
    right = sum(not letter.isascii() for letter in text) - wrong
    return right >= 3 and wrong <= _MOST_WRONG_SHARE * right


def _most_likely(content: bytes) -> str:
    """The encoding in which the text is most likely language. Raises ValueError when two are."""
    sample = _sample(content)
    best: dict[str, tuple[float, str]] = {}
    for language in LANGUAGES:
        for encoding in language.encodings:
            try:
                text = sample.decode(encoding)
            except UnicodeDecodeError:
                continue
            score = _score(text, language)
            if text not in best or score > best[text][0]:
                best[text] = score, encoding
    ranked = sorted(best.values(), key=lambda entry: -entry[0])
    if not ranked:
        raise ValueError("not UTF-8, and no known encoding reads it; name it by --encoding")
    if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < _MARGIN:
        names = f"{ranked[0][1]} or {ranked[1][1]}"
        raise ValueError(f"not UTF-8, and as likely {names}; name it by --encoding")
    return ranked[0][1]


def _sample(content: bytes) -> bytes:
    """Whole lines with bytes outside ASCII, from the start of the file."""
    lines, size = [], 0
    for line in re.split(rb"[\r\n]+", content):
        if not line.isascii():
            lines.append(line)
            size += len(line)
        if size >= _SAMPLE_BYTES:
            break
    return b"\n".join(lines)[: 4 * _SAMPLE_BYTES]


def _score(text: str, language: Language | Ideographs) -> float:
    """Logarithm of how likely a text is in a language, up to a constant.

    Words of ASCII alone, such as names and tags, are the same in all encodings. They only tell
    languages of the Latin script apart, by how many letters have accents.
    """
    score = _WESTERN_GAIN if "latin-1" in language.encodings else 0.0
    for word in _WORD.findall(text):
        score += len(word) * language.plain_cost if word.isascii() else _word_score(word, language)
    return score


def _word_score(word: str, language: Language | Ideographs) -> float:
    score = 0.0
    for before, letter, after in zip(" " + word, word, word[1:] + " ", strict=False):
        score += language.chance(letter)
        if letter in _INNER_MARKS and before.isalpha() and after.isalpha():
            score -= _INNER_MARK_COST
        if letter in _FINAL_FORMS:
            score += -_FINAL_FORM_GAIN if after.isalpha() else _FINAL_FORM_GAIN
        if letter.isupper() and not letter.isascii():
            score -= _capital_cost(before)
        if not language.is_latin and before.isalpha() and letter.isalpha():
            is_mixed = before.isascii() != letter.isascii()
            score -= _MIXED_WORD_COST if is_mixed else 0.0
    return score


def _capital_cost(before: str) -> float:
    if before.islower():
        return _INNER_CAPITAL_COST
    return _NEXT_CAPITAL_COST if before.isupper() else _FIRST_CAPITAL_COST
