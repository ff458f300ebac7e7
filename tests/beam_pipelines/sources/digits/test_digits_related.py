"""Captions of order, colours, motions and places, recomputed from what the manifest says."""

import collections

from beam_pipelines.sources.digits.config import LANGUAGES
from beam_pipelines.sources.digits.language.lexicon import COLORS, DIGIT_WORDS
from tests.beam_pipelines.sources.digits.manifests import items as _items
from tests.beam_pipelines.sources.digits.manifests import named as _named
from tests.beam_pipelines.sources.digits.manifests import words as _words

_ENGLISH = DIGIT_WORDS["en"]
_EN_PLACES = {"left": (1, 1), "right": (1, -1), "above": (0, 1), "below": (0, -1)}
_EN_MOTIONS = {"leftwards": "left", "rightwards": "right", "up": "up", "down": "down"}


def test_related_captions_say_order_place_and_motion():
    places = collections.Counter()
    for item in _items(60, "related"):
        (text,) = [each["text"] for each in item["captions"] if each["style"] == "related"]
        shown = sorted(item["metadata"]["objects"], key=lambda each: each["digit"])
        tracks = {each["id"]: each["track"] for each in item["objects"]}
        assert _named(text) == [each["digit"] for each in shown]
        assert [word for word in _words(text) if word in COLORS] == [e["colour"] for e in shown]
        colors = [name for name in COLORS if name in {each["colour"] for each in shown}]
        assert [each["text"] for each in item["labels"]] == [
            *(_ENGLISH[each["digit"]] for each in shown),
            *colors,
        ]
        assert [each["index"] for each in item["labels"][2:]] == [
            10 + list(COLORS).index(name) for name in colors
        ]
        first, second = text.split(", ")
        for clause, each in zip((first, second), shown, strict=True):
            directions = {sighting["direction"] for sighting in tracks[each["id"]]}
            assert {_EN_MOTIONS.get(_words(clause)[-1], "still")} == directions
        place = _words(second)[0]
        places[place] += 1
        least = {
            name: min(
                sign * (_center(b, axis) - _center(a, axis))
                for a, b in zip(*(tracks[each["id"]] for each in shown), strict=True)
            )
            for name, (axis, sign) in _EN_PLACES.items()
        }
        farthest = max(least, key=least.get)
        # Boxes are of what is seen, and centers of what is drawn: up to a pixel of 64 apart.
        if least[farthest] > 0.05 + 1 / 64:
            assert least[place] > least[farthest] - 1 / 32
        elif least[farthest] < 0.05 - 1 / 64:
            assert place == "beside"
    assert set(places) == {*_EN_PLACES, "beside"}


def _center(sighting, axis):
    return (sighting["box_yxyx_norm"][axis] + sighting["box_yxyx_norm"][axis + 2]) / 2


def test_related_captions_in_every_language():
    (item,) = _items(1, "related", languages=LANGUAGES)
    texts = [each["text"] for each in item["captions"] if each["style"] == "related"]
    assert texts == [
        "a blue three moves rightwards, above a red nine that moves leftwards",
        "eine blaue Drei bewegt sich nach rechts, über einer roten Neun, die sich nach links"
        " bewegt",
        "un trois bleu se déplace vers la droite, au-dessus d'un neuf rouge qui se déplace vers la"
        " gauche",
        "un tres azul se mueve hacia la derecha, encima de un nueve rojo que se mueve hacia la"
        " izquierda",
    ]
