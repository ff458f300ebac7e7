"""Questions about a clip with their answers, worked out from the truth."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language.lexicon import (
    COLOR_ANSWERS,
    COLORS,
    DIGIT_WORDS,
    DIRECTION_WORDS,
    YES_NO,
    Description,
    noun_phrase,
)

# `{the}` and `{a}` are the digit asked about, `{dative}` the same in the German dative, `{of}` with
# French and Spanish "of", `{word}` a bare name, `{color}` a colour.
QUESTIONS: dict[str, dict[str, str]] = {
    "en": {
        "count": "how many digits are there?",
        "colour": "what colour is {the}?",
        "digit_of_colour": "which digit is {color}?",
        "left_of": "which digit is always to the left of {the}?",
        "above": "which digit is always above {the}?",
        "largest": "which digit is the largest?",
        "said_first": "which digit is said first?",
        "said_last": "which digit is said last?",
        "said_after": "which digit is said after {word}?",
        "direction": "where does {the} move?",
        "moves": "does {the} move?",
        "enters": "does a digit enter the picture?",
        "which_enters": "which digit enters the picture?",
        "leaves": "does a digit leave the picture?",
        "same_colour": "do two digits have the same colour?",
        "in_front_of": "which digit covers a part of {the}?",
        "present": "is there {a}?",
    },
    "de": {
        "count": "wie viele Ziffern gibt es?",
        "colour": "welche Farbe hat {the}?",
        "digit_of_colour": "welche Ziffer ist {color}?",
        "left_of": "welche Ziffer ist immer links von {dative}?",
        "above": "welche Ziffer ist immer über {dative}?",
        "largest": "welche Ziffer ist die größte?",
        "said_first": "welche Ziffer wird zuerst gesagt?",
        "said_last": "welche Ziffer wird zuletzt gesagt?",
        "said_after": "welche Ziffer wird nach {word} gesagt?",
        "direction": "wohin bewegt sich {the}?",
        "moves": "bewegt sich {the}?",
        "enters": "kommt eine Ziffer ins Bild?",
        "which_enters": "welche Ziffer kommt ins Bild?",
        "leaves": "verlässt eine Ziffer das Bild?",
        "same_colour": "haben zwei Ziffern dieselbe Farbe?",
        "in_front_of": "welche Ziffer verdeckt einen Teil {dative}?",
        "present": "gibt es {a}?",
    },
    "fr": {
        "count": "combien de chiffres y a-t-il ?",
        "colour": "de quelle couleur est {the} ?",
        "digit_of_colour": "quel chiffre est {color} ?",
        "left_of": "quel chiffre est toujours à gauche {of} ?",
        "above": "quel chiffre est toujours au-dessus {of} ?",
        "largest": "quel chiffre est le plus grand ?",
        "said_first": "quel chiffre est dit en premier ?",
        "said_last": "quel chiffre est dit en dernier ?",
        "said_after": "quel chiffre est dit après {word} ?",
        "direction": "où va {the} ?",
        "moves": "est-ce que {the} bouge ?",
        "enters": "un chiffre entre-t-il dans l'image ?",
        "which_enters": "quel chiffre entre dans l'image ?",
        "leaves": "un chiffre sort-il de l'image ?",
        "same_colour": "deux chiffres ont-ils la même couleur ?",
        "in_front_of": "quel chiffre cache une partie {of} ?",
        "present": "y a-t-il {a} ?",
    },
    "es": {
        "count": "¿cuántos dígitos hay?",
        "colour": "¿de qué color es {the}?",
        "digit_of_colour": "¿qué dígito es {color}?",
        "left_of": "¿qué dígito está siempre a la izquierda {of}?",
        "above": "¿qué dígito está siempre encima {of}?",
        "largest": "¿qué dígito es el más grande?",
        "said_first": "¿qué dígito se dice primero?",
        "said_last": "¿qué dígito se dice al final?",
        "said_after": "¿qué dígito se dice después de {word}?",
        "direction": "¿hacia dónde se mueve {the}?",
        "moves": "¿se mueve {the}?",
        "enters": "¿entra algún dígito en la imagen?",
        "which_enters": "¿qué dígito entra en la imagen?",
        "leaves": "¿sale algún dígito de la imagen?",
        "same_colour": "¿tienen dos dígitos el mismo color?",
        "in_front_of": "¿qué dígito tapa una parte {of}?",
        "present": "¿hay {a}?",
    },
}

PRESENT = "present"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with its answer, before they are words.

    Attributes:
        kind: a key of `QUESTIONS`.
        answer: an int for a digit (or, of `count`, a number), a bool for yes and no, or the name of
            a colour or direction.
        about: the digit asked about, or None.
        color: the colour asked about, or None.
    """

    kind: str
    answer: int | bool | str
    about: int | None = None
    color: str | None = None


def write_questions(random: np.random.Generator, truth: GroundTruth, said: list[int]) -> list[dict]:
    """The manifest's questions: up to `questions_per_language` of different kinds in each language.

    Args:
        random: chooses the questions.
        truth: the clip.
        said: digits that are heard, in order; with wrong sound not those that are shown.
    """
    by_kind: dict[str, list[Question]] = {}
    wanted = truth.config.question_kinds
    questions = [*_about_all(truth), *_about_each(truth), *_about_speech(said)]
    if PRESENT in wanted:
        questions += _about_presence(random, truth)
    for question in questions:
        if not wanted or question.kind in wanted:
            by_kind.setdefault(question.kind, []).append(question)
    written = []
    for language in truth.config.languages:
        kinds = random.permutation(sorted(by_kind))[: truth.config.questions_per_language]
        for kind in kinds:
            choices = by_kind[str(kind)]
            written.append(_in_words(language, choices[int(random.integers(len(choices)))]))
    return written


def _about_all(truth: GroundTruth) -> list[Question]:
    objects = truth.objects
    entering = [shown.digit for shown in objects if shown.path.enters_from]
    leaving = [shown.digit for shown in objects if shown.path.leaves_to]
    colors = [shown.color for shown in objects]
    questions = [
        Question("count", len(objects)),
        Question("enters", bool(entering)),
        Question("leaves", bool(leaving)),
    ]
    questions += [
        Question("digit_of_colour", shown.digit, color=shown.color)
        for shown in objects
        if colors.count(shown.color) == 1
    ]
    if len(entering) == 1:
        questions.append(Question("which_enters", entering[0]))
    if len(objects) > 1:
        questions.append(Question("same_colour", len(set(colors)) < len(colors)))
    for shown in objects:
        others = [other.object_id for other in objects if other is not shown]
        if others and all(truth.holds(shown.object_id, "larger_than", one) for one in others):
            questions.append(Question("largest", shown.digit))
    return questions


def _about_each(truth: GroundTruth) -> list[Question]:
    questions = []
    for shown in truth.objects:
        questions.append(Question("colour", shown.color, about=shown.digit))
        questions.append(Question("moves", shown.path.speed > 0, about=shown.digit))
        direction = truth.constant_direction(shown.object_id)
        if direction not in (None, "still"):
            questions.append(Question("direction", direction, about=shown.digit))
        for predicate in ("left_of", "above", "in_front_of"):
            found = truth.only(predicate, shown.object_id)
            if found is not None:
                answer = truth.objects[found].digit
                questions.append(Question(predicate, answer, about=shown.digit))
    return questions


def _about_presence(random: np.random.Generator, truth: GroundTruth) -> list[Question]:
    """As many questions about digits that are not there as about those that are."""
    others = [digit for digit in range(10) if digit not in truth.digits]
    chosen = [int(digit) for digit in random.permutation(others)[: len(truth.digits)]]
    return [
        *(Question(PRESENT, True, about=digit) for digit in truth.digits),
        *(Question(PRESENT, False, about=digit) for digit in chosen),
    ]


def _about_speech(said: list[int]) -> list[Question]:
    if len(said) == 1:
        return [Question("said_first", said[0])]
    pairs = zip(said, said[1:], strict=False)
    return [
        Question("said_first", said[0]),
        Question("said_last", said[-1]),
        *(Question("said_after", following, about=first) for first, following in pairs),
    ]


def _in_words(language: str, question: Question) -> dict:
    words = {"color": COLOR_ANSWERS[language].get(question.color or "", "")}
    if question.about is not None:
        what = Description(question.about)
        words["word"] = DIGIT_WORDS[language][question.about]
        words["the"] = noun_phrase(language, what, definite=True)
        words["a"] = noun_phrase(language, what, definite=False)
        words["dative"] = noun_phrase(language, what, definite=True, dative=True)
        words["of"] = {"fr": "du ", "es": "del "}.get(language, "") + words["word"]
    return {
        "text": QUESTIONS[language][question.kind].format(**words),
        "answer": _answer_words(language, question),
        "kind": question.kind,
        "language": language,
    }


def _answer_words(language: str, question: Question) -> str:
    answer = question.answer
    if isinstance(answer, bool):
        return YES_NO[language][0 if answer else 1]
    if isinstance(answer, int):
        word = DIGIT_WORDS[language][answer]
        return word.lower() if question.kind == "count" else word
    return (
        COLOR_ANSWERS[language][answer] if answer in COLORS else DIRECTION_WORDS[language][answer]
    )
