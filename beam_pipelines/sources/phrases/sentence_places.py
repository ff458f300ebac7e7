"""Where a phrase stands in its sentence, from characters to words."""

from beam_pipelines.items import schema
from beam_pipelines.sources.phrases.phrase_objects import Phrase


def phrase_of_characters(sentence: str, start: int, end: int, language: str) -> Phrase | None:
    """The manifest's phrase of the characters `[start, end)`; None where these are blank.

    The sentence is stored with single spaces. A phrase that begins inside of a word has that word
    as its first.
    """
    text = " ".join(sentence[start:end].split())
    if not text:
        return None
    start += len(sentence[start:end]) - len(sentence[start:end].lstrip())
    before = sentence[:start]
    is_inside = bool(before) and not before[-1].isspace()
    return {
        "text": text,
        "language": language,
        "sentence": " ".join(sentence.split()),
        "first_word": len(before.split()) - is_inside,
    }


def phrase_of_words(text: str, sentence: str, places: list[int], language: str) -> Phrase | None:
    """The manifest's phrase of the words at `places`; None where these are not its words."""
    words = text.split()
    first = places[0] if places else 0
    in_a_row = places == list(range(first, first + len(words)))
    if not in_a_row or not schema.stands_in(text, sentence, first):
        return None
    return {
        "text": " ".join(words),
        "language": language,
        "sentence": " ".join(sentence.split()),
        "first_word": first,
    }
