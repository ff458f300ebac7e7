"""One sentence of a fixed form that says where each digit is to the next, and how all move."""

from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language.lexicon import (
    DIRECTION_WORDS,
    Description,
    noun_phrase,
)

# Of a digit that stays, moves in one direction, or in several: as a sentence, and as a clause.
_MOTIONS = {
    "en": (
        ("{} stays still", "{} that stays still"),
        ("{} moves {}", "{} that moves {}"),
        ("{} moves about", "{} that moves about"),
    ),
    "de": (
        ("{} steht still", "{}, die still steht"),
        ("{} bewegt sich {}", "{}, die sich {} bewegt"),
        ("{} bewegt sich hin und her", "{}, die sich hin und her bewegt"),
    ),
    "fr": (
        ("{} reste immobile", "{} qui reste immobile"),
        ("{} se déplace {}", "{} qui se déplace {}"),
        ("{} va et vient", "{} qui va et vient"),
    ),
    "es": (
        ("{} está quieto", "{} que está quieto"),
        ("{} se mueve {}", "{} que se mueve {}"),
        ("{} va y viene", "{} que va y viene"),
    ),
}
_PLACES = {
    "en": {
        "left_of": "left of {}",
        "right_of": "right of {}",
        "above": "above {}",
        "below": "below {}",
        None: "beside {}",
    },
    "de": {
        "left_of": "links von {}",
        "right_of": "rechts von {}",
        "above": "über {}",
        "below": "unter {}",
        None: "neben {}",
    },
    "fr": {
        "left_of": "à gauche d'{}",
        "right_of": "à droite d'{}",
        "above": "au-dessus d'{}",
        "below": "au-dessous d'{}",
        None: "près d'{}",
    },
    "es": {
        "left_of": "a la izquierda de {}",
        "right_of": "a la derecha de {}",
        "above": "encima de {}",
        "below": "debajo de {}",
        None: "cerca de {}",
    },
}
# English words for left and right that no place has, so that a motion is never taken for one.
_DIRECTIONS = {
    **DIRECTION_WORDS,
    "en": {
        name: words.replace("to the left", "leftwards").replace("to the right", "rightwards")
        for name, words in DIRECTION_WORDS["en"].items()
    },
}


def say_related(language: str, truth: GroundTruth) -> str:
    """All digits of a clip from the smallest number to the largest, each with its colour and
    motion, and the place of each in relation to the one named after it.

    So the order of words follows the numbers, and the relation follows where things are.
    """
    shown = sorted(range(len(truth.objects)), key=lambda each: truth.objects[each].digit)
    text = _with_motion(language, truth, shown[0], is_clause=False)
    for this, following in zip(shown, shown[1:], strict=False):
        place = _PLACES[language][truth.place(this, following)]
        text += ", " + place.format(_with_motion(language, truth, following, is_clause=True))
    return text


def _with_motion(language: str, truth: GroundTruth, object_id: int, *, is_clause: bool) -> str:
    shown = truth.objects[object_id]
    what = Description(shown.digit, shown.color)
    name = noun_phrase(language, what, definite=False, dative=is_clause)
    direction = truth.constant_direction(object_id)
    still, moves, turns = (forms[is_clause] for forms in _MOTIONS[language])
    if direction is None:
        return turns.format(name)
    if direction == "still":
        return still.format(name)
    return moves.format(name, _DIRECTIONS[language][direction])
