"""The moments of a clip: spans of time, each belonging to the digit that is named in it."""

import dataclasses

from beam_pipelines.sources.digits.speech.utterances import SpokenClip


@dataclasses.dataclass(frozen=True)
class Moment:
    """A span of the clip and the digit (object id) that its sentences describe."""

    object_id: int
    start_seconds: float
    end_seconds: float


def split_into_moments(spoken: SpokenClip, clip_seconds: float) -> list[Moment]:
    """One moment per utterance; the cuts are halfway between two names."""
    cuts = [0.0]
    for this, following in zip(spoken.utterances, spoken.utterances[1:], strict=False):
        cuts.append(round((this.end_seconds + following.start_seconds) / 2, 4))
    cuts.append(round(clip_seconds, 4))
    return [Moment(place, *cuts[place : place + 2]) for place in range(len(cuts) - 1)]
