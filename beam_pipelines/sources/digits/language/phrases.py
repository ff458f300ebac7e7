"""Referring phrases: words that pick out one digit of a clip and no other."""

from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language.lexicon import (
    COLOR_WORDS,
    DIRECTION_WORDS,
    FROM_SIDE_WORDS,
    SIZE_WORDS,
    Description,
    noun_phrase,
)

# "the ... digit" with an adjective, and with a clause after it.
_DIGIT_NOUN = {
    "en": ("the {} digit", "the digit {}"),
    "de": ("die {} Ziffer", "die Ziffer, {}"),
    "fr": ("le chiffre {}", "le chiffre {}"),
    "es": ("el dígito {}", "el dígito {}"),
}
_EXTREMES = {
    "en": {
        "leftmost": "farthest to the left",
        "rightmost": "farthest to the right",
        "topmost": "at the top",
        "lowest": "at the bottom",
    },
    "de": {
        "leftmost": "die am weitesten links ist",
        "rightmost": "die am weitesten rechts ist",
        "topmost": "die ganz oben ist",
        "lowest": "die ganz unten ist",
    },
    "fr": {
        "leftmost": "le plus à gauche",
        "rightmost": "le plus à droite",
        "topmost": "tout en haut",
        "lowest": "tout en bas",
    },
    "es": {
        "leftmost": "más a la izquierda",
        "rightmost": "más a la derecha",
        "topmost": "de más arriba",
        "lowest": "de más abajo",
    },
}
_MOVES = {
    "en": "that moves {}",
    "de": "die sich {} bewegt",
    "fr": "qui se déplace {}",
    "es": "que se mueve {}",
}
_ENTERS = {
    "en": "that comes in {}",
    "de": "die {} hereinkommt",
    "fr": "qui arrive {}",
    "es": "que llega {}",
}
_BESIDE = {
    "en": {"left_of": "to the left of {}", "above": "above {}"},
    "de": {"left_of": "die links von {} ist", "above": "die über {} ist"},
    "fr": {"left_of": "à gauche {}", "above": "au-dessus {}"},
    "es": {"left_of": "a la izquierda {}", "above": "encima {}"},
}


def refer(truth: GroundTruth, object_id: int) -> list[dict]:
    """The manifest's phrases of one object, in every language of the corpus.

    Each holds for this object alone: by its digit (always unique in a clip), with its looks, by a
    colour that no other has, by its motion, or by where it is in all frames.
    """
    kinds = truth.config.phrase_kinds
    return [
        {"text": text, "language": language}
        for language in truth.config.languages
        for kind, text in _phrases(truth, object_id, language).items()
        if not kinds or kind in kinds
    ]


def _phrases(truth: GroundTruth, object_id: int, language: str) -> dict[str, str]:
    """The phrases of an object by their kind (`config.PHRASE_KINDS`)."""
    shown = truth.objects[object_id]
    others = [other for other in truth.objects if other.object_id != object_id]
    size = shown.size if shown.size in SIZE_WORDS[language] else None
    phrases = {
        "digit": noun_phrase(language, Description(shown.digit), definite=True),
        "looks": noun_phrase(language, Description(shown.digit, shown.color, size), definite=True),
    }
    with_adjective, with_clause = _DIGIT_NOUN[language]
    if all(other.color != shown.color for other in others):
        phrases["colour"] = with_adjective.format(COLOR_WORDS[language][shown.color])
    clauses = {
        "motion": _motion_clause(truth, object_id, language),
        "place": _place_clause(truth, object_id, language),
        "beside": _beside_clause(truth, object_id, language),
    }
    return phrases | {kind: with_clause.format(each) for kind, each in clauses.items() if each}


def _motion_clause(truth: GroundTruth, object_id: int, language: str) -> str | None:
    shown = truth.objects[object_id]
    others = [other for other in truth.objects if other.object_id != object_id]
    side = shown.path.enters_from
    if side and all(other.path.enters_from != side for other in others):
        return _ENTERS[language].format(FROM_SIDE_WORDS[language][side])
    direction = truth.constant_direction(object_id)
    ambiguous = any(direction in other.path.directions for other in others)
    if direction in DIRECTION_WORDS[language] and not ambiguous:
        return _MOVES[language].format(DIRECTION_WORDS[language][direction])
    return None


def _place_clause(truth: GroundTruth, object_id: int, language: str) -> str | None:
    for predicate, first, last in (
        ("left_of", "leftmost", "rightmost"),
        ("above", "topmost", "lowest"),
    ):
        others = [other.object_id for other in truth.objects if other.object_id != object_id]
        if others and all(truth.holds(object_id, predicate, other) for other in others):
            return _EXTREMES[language][first]
        if others and all(truth.holds(other, predicate, object_id) for other in others):
            return _EXTREMES[language][last]
    return None


def _beside_clause(truth: GroundTruth, object_id: int, language: str) -> str | None:
    """Clause by the first other digit beside or below which only this one is ever seen."""
    for predicate in ("left_of", "above"):
        for other in truth.objects:
            is_only = truth.only_ever(predicate, other.object_id) == object_id
            if other.object_id != object_id and is_only:
                what = Description(other.digit, other.color)
                anchor = noun_phrase(language, what, definite=True, dative=True)
                return _BESIDE[language][predicate].format(_after_of(language, anchor))
    return None


def _after_of(language: str, phrase: str) -> str:
    """The phrase after "of" where that is part of the preposition: "du trois", "del tres"."""
    if language == "fr":
        return "du " + phrase.removeprefix("le ")
    return "del " + phrase.removeprefix("el ") if language == "es" else phrase
