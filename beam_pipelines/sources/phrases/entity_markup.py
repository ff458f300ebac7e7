"""Sentences with entities in brackets: `[/EN#21/people A man] waits .`"""

import dataclasses
import re

from beam_pipelines.sources.phrases.phrase_objects import Phrase
from beam_pipelines.sources.phrases.sentence_places import phrase_of_characters

_OPENING = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)(?P<categories>(?:/[^/\s\]]+)*)\s")
# What begins like an entity and is none.
_BROKEN = re.compile(r"\[/EN#")


@dataclasses.dataclass(frozen=True)
class EntityPhrase:
    """A phrase of a sentence.

    Attributes:
        phrase: the manifest's phrase.
        chain: id of what it means, which all sentences of a picture share; `0` is nothing visible.
        label: its categories in alphabetical order, with `/` between them.
    """

    phrase: Phrase
    chain: str
    label: str


def parse_sentence(line: str, language: str) -> tuple[str, list[EntityPhrase]]:
    """(sentence without markup, its phrases in order).

    Raises:
        ValueError: a bracket is not closed, holds no word, or has another form.
    """
    plain, spans, at = "", [], 0
    while (opening := _OPENING.search(line, at)) is not None:
        plain += line[at : opening.start()]
        end = line.find("]", opening.end())
        words = line[opening.end() : end]
        if end < 0 or "[" in words or not words.strip():
            raise ValueError(f"{line[opening.start() :][:40]!r} has no words up to a closing `]`")
        spans.append((opening, len(plain), len(plain) + len(words)))
        plain += words
        at = end + 1
    plain += line[at:]
    if _BROKEN.search(plain):
        raise ValueError(f"{plain[plain.index('[/EN#') :][:40]!r} is not `[/EN#id/category words]`")
    sentence = " ".join(plain.split())
    found = []
    for opening, start, end in spans:
        phrase = phrase_of_characters(plain, start, end, language)
        categories = sorted(set(filter(None, opening["categories"].split("/"))))
        found.append(EntityPhrase(phrase, opening["chain"], "/".join(categories)))
    return sentence, found
