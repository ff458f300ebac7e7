"""Chooses among several draws of a scene the one that shows, or avoids, occlusion as asked."""

import numpy as np

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.pictures.render import Sighting, sightings
from beam_pipelines.sources.digits.pictures.scene import Look, SceneObject, place_objects
from beam_pipelines.sources.digits.speech.utterances import SpokenClip

_ATTEMPTS = 12
# Least share of a digit's ink that must be seen on average, and of its best frame.
_LEGIBLE_MEAN, _LEGIBLE_BEST = 0.6, 0.9


def stage_scene(
    random: np.random.Generator, config: DigitsConfig, looks: list[Look], timeline: SpokenClip
) -> tuple[list[SceneObject], list[list[Sighting]]]:
    """Places the digits so that all can be read and, in `occlusion_share` of clips, some overlap.

    The other clips avoid overlaps. Both are wishes: with many large digits the best of several
    draws is taken.
    """
    wants_occlusion = len(looks) > 1 and float(random.uniform()) < config.occlusion_share
    best: tuple[float, list[SceneObject], list[list[Sighting]]] | None = None
    for _ in range(_ATTEMPTS if len(looks) > 1 else 1):
        objects = place_objects(random, config, looks, timeline)
        seen = sightings(objects, config.num_frames, config.frame_size)
        fault = _fault(seen, wants_occlusion)
        if best is None or fault < best[0]:
            best = fault, objects, seen
        if fault <= 0:
            break
    return best[1], best[2]


def _fault(seen: list[list[Sighting]], wants_occlusion: bool) -> float:
    """0 for a scene as wished; more the less it is so."""
    overlaps = sum(bool(sighting.hidden_by) for track in seen for sighting in track)
    fault = float(not overlaps) if wants_occlusion else min(1.0, overlaps / 10)
    for track in seen:
        shares = [sighting.visibility for sighting in track]
        if not shares:
            return 10.0
        fault += max(0.0, _LEGIBLE_MEAN - float(np.mean(shares)))
        fault += max(0.0, _LEGIBLE_BEST - max(shares))
    return fault
