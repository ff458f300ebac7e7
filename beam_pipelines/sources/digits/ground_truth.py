"""What is true of a clip: tracks and relations, measured on what was drawn."""

import dataclasses
import functools

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.language.lexicon import COLORS, DIGIT_WORDS
from beam_pipelines.sources.digits.pictures.moments import Moment
from beam_pipelines.sources.digits.pictures.render import Sighting
from beam_pipelines.sources.digits.pictures.scene import SceneObject

# Distance of two centres, as a share of the frame, from which on one is beside or above the other.
APART_SHARE = 0.05
# Ratio of heights from which on one digit is larger.
LARGER_RATIO = 1.2

PREDICATES = ("left_of", "above", "same_colour", "larger_than", "in_front_of", "named_before")


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """A clip's objects with what can be seen of them.

    Attributes:
        config: the corpus.
        objects: in the order of their ids, which is the order in which they are named.
        sightings: per object, the frames in which it is seen.
        moments: per object, its span of time.
    """

    config: DigitsConfig
    objects: list[SceneObject]
    sightings: list[list[Sighting]]
    moments: list[Moment]

    @property
    def digits(self) -> list[int]:
        """Digits shown, in the order of naming."""
        return [shown.digit for shown in self.objects]

    @property
    def unused_colors(self) -> list[str]:
        """Colour names that no digit of the clip has."""
        return [name for name in COLORS if name not in {shown.color for shown in self.objects}]

    def sightings_in(self, moment: Moment, object_id: int) -> list[Sighting]:
        """The object's sightings whose frame begins within `moment`."""
        rate = self.config.frame_rate_hz
        return [
            sighting
            for sighting in self.sightings[object_id]
            if moment.start_seconds <= sighting.frame / rate < moment.end_seconds
        ]

    def hidden_in(self, moment: Moment, object_id: int) -> list[int]:
        """Ids of the objects of which `object_id` hides a part within `moment`."""
        return sorted(
            {
                other.object_id
                for other in self.objects
                for sighting in self.sightings_in(moment, other.object_id)
                if object_id in sighting.hidden_by
            }
        )

    @functools.cached_property
    def relations(self) -> list[tuple[int, str, int]]:
        """(subject id, predicate, object id) that hold in every frame in which both are seen.

        `in_front_of` holds when the subject hides a part of the object in some frame,
        `named_before` for neighbours in the order of naming. Converses (right_of, below, ...)
        follow and are not listed; `same_colour` is listed once.
        """
        count = range(len(self.objects))
        pairs = [(a, b) for a in count for b in count if a != b]
        return [
            (a, predicate, b)
            for predicate in PREDICATES
            for a, b in pairs
            if getattr(self, f"_{predicate}")(a, b)
        ]

    def holds(self, subject: int, predicate: str, other: int) -> bool:
        """Whether the clip has this relation."""
        return (subject, predicate, other) in self.relations

    def only(self, predicate: str, other: int) -> int | None:
        """The one object that bears `predicate` to `other`; None when there is none or several."""
        found = [a for a, name, b in self.relations if name == predicate and b == other]
        return found[0] if len(found) == 1 else None

    def only_ever(self, predicate: str, other: int) -> int | None:
        """`only`, of `left_of` or `above`, if no third object ever lies on that side of `other`."""
        found = self.only(predicate, other)
        axis = {"left_of": 1, "above": 0}[predicate]
        thirds = [
            shown.object_id for shown in self.objects if shown.object_id not in (found, other)
        ]
        strays = any(gap > 0 for third in thirds for gap in self._gaps(third, other, axis))
        return None if strays else found

    @property
    def left_to_right(self) -> list[int] | None:
        """Object ids from left to right, if that order is clear and the same in all frames."""
        ids = [shown.object_id for shown in self.objects]
        order = sorted(ids, key=lambda a: -sum(self.holds(a, "left_of", b) for b in ids))
        pairs = zip(order, order[1:], strict=False)
        return order if all(self.holds(a, "left_of", b) for a, b in pairs) else None

    def place(self, a: int, b: int) -> str | None:
        """Where `a` is to `b` in all frames in which both are seen: `left_of`, `right_of`, `above`
        or `below`, along the axis on which they are farther apart; None when neither holds."""
        sides = [
            (self._gaps(*pair, axis), name)
            for axis, names in ((1, ("left_of", "right_of")), (0, ("above", "below")))
            for pair, name in zip(((a, b), (b, a)), names, strict=True)
        ]
        found = max((min(gaps), name) for gaps, name in sides if gaps) if sides[0][0] else (0.0, "")
        return found[1] if found[0] >= self._apart_pixels else None

    def constant_direction(self, object_id: int) -> str | None:
        """The direction in which the object moves whenever it is seen, or None when it changes."""
        directions = {sighting.direction for sighting in self.sightings[object_id]}
        return directions.pop() if len(directions) == 1 else None

    def _left_of(self, a: int, b: int) -> bool:
        return self._ordered(a, b, axis=1)

    def _above(self, a: int, b: int) -> bool:
        return self._ordered(a, b, axis=0)

    def _ordered(self, a: int, b: int, axis: int) -> bool:
        gaps = self._gaps(a, b, axis)
        return bool(gaps) and min(gaps) >= self._apart_pixels

    @property
    def _apart_pixels(self) -> float:
        return APART_SHARE * self.config.frame_size

    def _gaps(self, a: int, b: int, axis: int) -> list[float]:
        """How far the centre of `b` is beyond that of `a`, in pixels, wherever both are seen."""
        second = {sighting.frame: sighting for sighting in self.sightings[b]}
        return [
            second[first.frame].center[axis] - first.center[axis]
            for first in self.sightings[a]
            if first.frame in second
        ]

    def _same_colour(self, a: int, b: int) -> bool:
        return a < b and self.objects[a].color == self.objects[b].color

    def _larger_than(self, a: int, b: int) -> bool:
        return len(self.objects[a].ink) >= LARGER_RATIO * len(self.objects[b].ink)

    def _in_front_of(self, a: int, b: int) -> bool:
        return any(a in sighting.hidden_by for sighting in self.sightings[b])

    def _named_before(self, a: int, b: int) -> bool:
        return b == a + 1

    def track(self, object_id: int) -> list[dict]:
        """The manifest's track of one object."""
        size, shown = self.config.frame_size, self.objects[object_id]
        return [
            {
                "time_seconds": round(sighting.frame / self.config.frame_rate_hz, 4),
                "box_yxyx_norm": [round(edge / size, 5) for edge in sighting.box_yxyx],
                "visibility": round(sighting.visibility, 4),
                "depth": shown.depth,
                "direction": sighting.direction,
            }
            for sighting in self.sightings[object_id]
        ]

    def label(self, object_id: int) -> dict:
        """The manifest's label of one object."""
        return self._digit_label(self.objects[object_id].digit)

    @property
    def labels(self) -> list[dict]:
        """The manifest's labels of the clip: its digits and, where asked for, its colours."""
        labels = [self._digit_label(digit) for digit in sorted(self.digits)]
        if self.config.color_labels:
            shown = {each.color for each in self.objects}
            first = len(DIGIT_WORDS["en"])
            labels += [
                {"index": first + place, "text": name}
                for place, name in enumerate(COLORS)
                if name in shown
            ]
        return labels

    def _digit_label(self, digit: int) -> dict:
        return {"index": digit, "text": DIGIT_WORDS["en"][digit]}
