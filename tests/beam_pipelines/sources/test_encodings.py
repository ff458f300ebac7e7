"""Encodings of text files: right, or refused; never letter salad in silence."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.sources.captions.encodings import decode_text

SENTENCES = {
    "ru": ("кошка прыгает через забор", ["cp1251", "koi8_r", "cp866", "iso8859_5"]),
    "uk": ("кішка стрибає через паркан", ["cp1251", "koi8_u"]),
    "el": ("η γάτα πηδάει πάνω από τον φράχτη", ["cp1253", "iso8859_7"]),
    "he": ("החתול קופץ מעל הגדר", ["cp1255"]),
    "ar": ("القط يقفز فوق السياج", ["cp1256", "iso8859_6"]),
    "th": ("แมวกระโดดข้ามรั้ว", ["cp874"]),
    "ja": ("猫が塀を跳び越える", ["shift_jis", "cp932", "euc_jp", "iso2022_jp"]),
    "zh": ("一只猫跳过了篱笆", ["gb2312", "gbk", "gb18030"]),
    "zh-Hant": ("一隻貓跳過了籬笆", ["big5"]),
    "ko": ("고양이가 울타리를 뛰어넘는다", ["euc_kr", "cp949"]),
    "cs": ("kočka přeskočí plot a běží dál k řece", ["cp1250", "iso8859_2"]),
    "pl": ("kot przeskakuje przez płot, żeby złapać gołębia", ["cp1250", "iso8859_2"]),
    "hu": ("a macska átugrik a kerítésen és elszökik az őr elől", ["cp1250"]),
    "tr": ("kedi çitin üzerinden atlıyor ve ağaca çıkıyor", ["cp1254", "iso8859_9"]),
    "fr": ("le chat saute par-dessus la clôture, très étonné", ["latin-1", "cp1252"]),
    "de": ("die Katze springt über den Zaun und läuft zum großen Bären", ["latin-1", "cp1252"]),
    "es": ("el niño pequeño saltó la valla mañana", ["latin-1", "cp1252"]),
    "sv": ("katten hoppar över staketet på gården", ["latin-1", "cp1252"]),
}
CASES = [(text, encoding) for text, encodings in SENTENCES.values() for encoding in encodings]


def cue(text: str) -> str:
    return f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n"


def outcome(content: bytes) -> str | None:
    """The text, or None when it is refused with the remedy."""
    try:
        return decode_text(content)[0]
    except ValueError as error:
        assert "--encoding" in str(error)
        return None


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_one_sentence_is_enough(text, encoding):
    assert decode_text(cue(text).encode(encoding))[0] == cue(text)
    # A name by hand gives the same, and does not touch files that are UTF-8.
    assert decode_text(cue(text).encode(encoding), encoding)[0] == cue(text)
    assert decode_text(cue(text).encode(), encoding) == (cue(text), "utf-8")


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_tags_and_english_words_tell_nothing(text, encoding):
    mixed = cue(f'<font color="#ffffff">The New York Times, Hollywood, {text}</font>')
    assert decode_text(mixed.encode(encoding))[0] == mixed


def test_a_few_words_are_right_or_refused():
    """Parts of the sentences: short ones are ambiguous, and then never guessed."""
    outcomes = {"right": 0, "refused": 0, "wrong": 0}
    for text, encoding in CASES:
        words = text.split()
        for first in range(len(words)):
            for last in range(first + 1, len(words) + 1):
                part = cue(" ".join(words[first:last]))
                found = outcome(part.encode(encoding))
                kind = "refused" if found is None else "right" if found == part else "wrong"
                outcomes[kind] += 1
    assert outcomes["wrong"] <= 0.01 * sum(outcomes.values()), outcomes
    assert outcomes["right"] >= 0.8 * sum(outcomes.values()), outcomes


@settings(max_examples=100, deadline=None)
@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc")).filter(lambda c: not "\x80" <= c < "\u0100"),
        max_size=40,
    )
)
def test_unicode_files_come_back(text):
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert decode_text(text.encode(encoding))[0] == text
    assert decode_text(f"plain {text}".encode())[0] == f"plain {text}"


def test_marks_of_damage_and_of_double_encoding():
    text = cue("ein schöner Bär läuft")
    assert decode_text(text.encode("utf-16-le"))[0] == text
    assert decode_text(text.encode("utf-16-be"))[0] == text
    twice = text.encode().decode("cp1252").encode()
    assert decode_text(twice) == (text, "utf-8, encoded twice")
    with pytest.raises(ValueError, match="damaged UTF-16"):
        decode_text(codecs.BOM_UTF16_LE + b"a")
    with pytest.raises(ValueError, match="NUL character at position 1"):
        decode_text(b"a\x00b")
