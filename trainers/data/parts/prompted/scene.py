"""Which objects the frames of a clip show, and questions about what is there."""

import dataclasses

import numpy as np

from trainers.data.parts.record_facts import RecordFacts

# Less of an object than this share cannot be told.
_LEAST_VISIBLE = 0.25
_FEWEST_CANDIDATES, _MOST_CANDIDATES = 2, 4


@dataclasses.dataclass(frozen=True)
class Scene:
    """Objects in view.

    Attributes:
        names: class names of what some sampled frame shows, in alphabetical order, each once.
        boxes_yxyx_norm: float32[objects, 4] in the middle one of the sampled frames.
        box_names: their class names; both from left to right.
    """

    names: tuple[str, ...]
    boxes_yxyx_norm: np.ndarray
    box_names: tuple[str, ...]


def see(facts: RecordFacts, frames: np.ndarray | None) -> Scene:
    """What is in view in `frames: int64[frames]`; None, or a record without boxes, shows all."""
    boxes = facts.boxes_yxyx_norm
    if frames is None or not len(boxes):
        return Scene(tuple(sorted(set(facts.objects))), np.zeros((0, 4), np.float32), ())
    frames = np.minimum(frames, len(boxes) - 1)
    sizes = (boxes[..., 2:] - boxes[..., :2]).min(axis=-1)
    seen = (facts.visibility >= _LEAST_VISIBLE) & (sizes > 0)
    in_some = seen[frames].any(axis=0)
    names = {name for name, is_seen in zip(facts.objects, in_some, strict=True) if is_seen}
    middle = int(frames[len(frames) // 2])
    shown = np.flatnonzero(seen[middle])
    centers = boxes[middle, shown, 1] + boxes[middle, shown, 3]
    shown = shown[np.argsort(centers, kind="stable")]
    box_names = tuple(facts.objects[place] for place in shown)
    return Scene(tuple(sorted(names)), boxes[middle, shown], box_names)


def ask_presence(
    scene: Scene, absent: tuple[str, ...], random: np.random.Generator
) -> tuple[str, bool]:
    """One object, there or not with equal chances, and whether it is there."""
    is_there = bool(random.random() < 0.5)
    names = scene.names if is_there else absent
    return names[int(random.integers(len(names)))], is_there


def ask_which(
    scene: Scene, absent: tuple[str, ...], random: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Several objects in random order, and those of them that are there, in the same order."""
    count = int(random.integers(_FEWEST_CANDIDATES, _MOST_CANDIDATES + 1))
    num_there = int(random.integers(0, min(count, len(scene.names)) + 1))
    num_there = max(num_there, count - len(absent))
    there = [scene.names[i] for i in random.permutation(len(scene.names))[:num_there]]
    others = [absent[i] for i in random.permutation(len(absent))[: count - num_there]]
    candidates = [(there + others)[i] for i in random.permutation(len(there) + len(others))]
    return candidates, [name for name in candidates if name in there]
