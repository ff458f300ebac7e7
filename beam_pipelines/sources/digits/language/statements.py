"""Statements about a clip, before they are words: drawn from the truth, or falsified."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language.lexicon import Description
from beam_pipelines.sources.digits.pictures.moments import Moment
from beam_pipelines.sources.digits.randomness import choose

_OPPOSITES = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "up_left": "down_right",
    "down_right": "up_left",
    "up_right": "down_left",
    "down_left": "up_right",
}
_SIZE_SAID_SHARE = 0.6
_SCENES = ("count", "reading", "ground")


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement, true or false.

    Attributes:
        kind: `digit` (its name alone), `shown`, `still`, `moves`, `enters`, `leaves`, `in_front`,
            or about the whole scene `count`, `reading`, `ground`.
        subject: the digit that it is about; None for the scene.
        other: the digit that is covered, for `in_front`.
        direction: of the motion; the side for `enters` and `leaves`.
        speed: `slow`, `fast` or None.
        count: number of digits, for `count`.
    """

    kind: str
    subject: Description | None = None
    other: Description | None = None
    direction: str | None = None
    speed: str | None = None
    count: int | None = None


def digit_statement(truth: GroundTruth, moment: Moment) -> Statement:
    """The name of the moment's digit and nothing else."""
    return Statement("digit", Description(truth.objects[moment.object_id].digit))


def full_statement(random: np.random.Generator, truth: GroundTruth, moment: Moment) -> Statement:
    """What the moment's digit looks like and does in that moment."""
    shown = truth.objects[moment.object_id]
    subject = _describe(random, truth, moment.object_id)
    prefers_front = float(random.uniform()) < 0.6
    hidden = truth.hidden_in(moment, moment.object_id)
    seen = truth.sightings_in(moment, moment.object_id)
    directions = {sighting.direction for sighting in seen}
    if shown.path.enters_from and _enters_in(truth, moment):
        return Statement("enters", subject, direction=shown.path.enters_from)
    if shown.path.leaves_to and _is_gone_by(truth, moment):
        return Statement("leaves", subject, direction=shown.path.leaves_to)
    if hidden and prefers_front:
        other = Description(truth.objects[hidden[0]].digit, truth.objects[hidden[0]].color)
        return Statement("in_front", subject, other=other)
    if directions == {"still"}:
        return Statement("still", subject)
    if len(directions) == 1:
        return Statement("moves", subject, direction=directions.pop(), speed=shown.speed_word)
    return Statement("shown", subject)


def _enters_in(truth: GroundTruth, moment: Moment) -> bool:
    """Whether the digit enters in the moment, or in the frame on which its start falls."""
    first_frame = truth.objects[moment.object_id].path.first_frame
    return first_frame + 1 > moment.start_seconds * truth.config.frame_rate_hz


def _is_gone_by(truth: GroundTruth, moment: Moment) -> bool:
    end_frame = truth.objects[moment.object_id].path.end_frame
    return end_frame / truth.config.frame_rate_hz < moment.end_seconds


def _describe(random: np.random.Generator, truth: GroundTruth, object_id: int) -> Description:
    shown = truth.objects[object_id]
    says_size = float(random.uniform()) < _SIZE_SAID_SHARE and shown.size != "medium"
    return Description(shown.digit, shown.color, shown.size if says_size else None)


def neighbour_statement(
    random: np.random.Generator, truth: GroundTruth, moment: Moment
) -> Statement:
    """Something true that is hardly about the moment: the scene, or how another digit looks."""
    others = [shown.object_id for shown in truth.objects if shown.object_id != moment.object_id]
    if others and float(random.uniform()) < 0.5:
        return Statement("shown", _describe(random, truth, choose(random, others)))
    return Statement(choose(random, _SCENES), count=len(truth.objects))


def falsify(
    random: np.random.Generator, truth: GroundTruth, statement: Statement
) -> tuple[Statement, tuple[str, str, str]]:
    """A false variant of a statement about a digit, and (what changed, what is said, the truth).

    A changed digit or colour is one that the clip does not show, and a direction turns to its
    opposite, so the result is true of nothing in the clip.
    """
    subject = statement.subject
    changeable = ["digit"]
    if subject.color:
        changeable.append("colour")
    if statement.kind == "moves":
        changeable.append("direction")
    what = choose(random, changeable)
    if what == "direction":
        said = _OPPOSITES[statement.direction]
        return dataclasses.replace(statement, direction=said), (what, said, statement.direction)
    if what == "colour":
        said = choose(random, truth.unused_colors)
        changed = dataclasses.replace(subject, color=said)
        return dataclasses.replace(statement, subject=changed), (what, said, subject.color)
    digit = choose(random, [digit for digit in range(10) if digit not in truth.digits])
    changed = dataclasses.replace(subject, digit=digit)
    return dataclasses.replace(statement, subject=changed), (what, str(digit), str(subject.digit))
