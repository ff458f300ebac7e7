"""Boxes, visibility, motion and relations against independent measurements."""

import dataclasses

import numpy as np
import pytest

from beam_pipelines.sources.digits.clip import describe_clip, plan_clip
from beam_pipelines.sources.digits.config import SPLITS, make_config
from beam_pipelines.sources.digits.language.lexicon import DIRECTIONS
from beam_pipelines.sources.digits.pictures import digit_images, motion
from beam_pipelines.sources.digits.pictures.render import render, sightings
from beam_pipelines.sources.digits.pictures.scene import SceneObject

_NUM_CLIPS = 24


@pytest.fixture(scope="module")
def config():
    return make_config(languages=("en",), video_noise=0.0)


@pytest.fixture(scope="module")
def plans(config):
    return [plan_clip(config, "train", index) for index in range(_NUM_CLIPS)]


@pytest.fixture(scope="module")
def items(config, plans):
    return [describe_clip(config, "train", i, plan) for i, plan in enumerate(plans)]


def _square(object_id, depth, corners, size=4):
    """A solid square digit at the given corner in every frame."""
    corners = np.array(corners)
    path = motion.Path(corners, ("still",) * len(corners), 0.0, 0, len(corners))
    ink = np.ones((size, size), np.float32)
    return SceneObject(object_id, object_id, 0, "red", (250, 0, 0), "small", ink, depth, path)


def test_visibility_and_boxes_by_hand():
    # Frame 0: apart. Frame 1: the near square covers 2 of 4 columns of the far one. Frame 2: the
    # far one hangs over the left border by 3 of 4 columns. Frame 3: it is outside.
    near = _square(0, 0, [[0, 0], [2, 4], [6, 6], [6, 6]])
    far = _square(1, 1, [[2, 6], [2, 6], [0, -3], [0, -4]])
    of_near, of_far = sightings([near, far], num_frames=4, frame_size=10)
    assert [sighting.visibility for sighting in of_near] == [1, 1, 1, 1]
    assert [sighting.visibility for sighting in of_far] == [1, 0.5, 0.25]
    assert [sighting.hidden_by for sighting in of_far] == [(), (0,), ()]
    assert [s.box_yxyx for s in of_far] == [(2, 6, 6, 10), (2, 6, 6, 10), (0, 0, 4, 1)]
    assert [s.box_yxyx for s in of_near][:2] == [(0, 0, 4, 4), (2, 4, 6, 8)]


def test_faint_ink_neither_hides_nor_counts():
    ink = np.full((4, 4), 0.4, np.float32)
    ink[:, 0] = 1
    near = dataclasses.replace(_square(0, 0, [[0, 0], [0, -1]]), ink=ink)
    of_near, of_far = sightings([near, _square(1, 1, [[0, 2], [0, 2]])], 2, 10)
    assert of_far[0].visibility == 1 and of_far[0].hidden_by == ()
    assert [sighting.visibility for sighting in of_near] == [1, 0]


def test_ink_fills_its_box_exactly(config, plans, items):
    """Each digit drawn alone changes pixels in its box, up to every edge, and nowhere else."""
    size = config.frame_size
    for plan, item in zip(plans[:8], items, strict=False):
        bare = render(np.random.default_rng(0), config, [])
        for shown, entry in zip(plan.objects, item["objects"], strict=True):
            drawn = render(np.random.default_rng(0), config, [shown])
            changed = np.abs(drawn.astype(int) - bare).max(axis=-1) > 8
            boxes = {round(s["time_seconds"] * 8): s["box_yxyx_norm"] for s in entry["track"]}
            for frame, mask in enumerate(changed):
                if frame not in boxes:
                    assert not mask.any()
                    continue
                y0, x0, y1, x1 = np.round(np.array(boxes[frame]) * size).astype(int)
                inside = np.zeros_like(mask)
                inside[y0:y1, x0:x1] = True
                assert not (mask & ~inside).any()
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                if len(rows):
                    found = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
                    assert np.abs(np.subtract(found, (y0, x0, y1, x1))).max() <= 1


def test_nearer_digits_are_drawn_over_farther_ones(config, plans):
    """Where two digits are both solid, the picture has the nearest one's colour."""
    checked = 0
    for plan in plans:
        if not any(sighting.hidden_by for track in plan.sightings for sighting in track):
            continue
        video = render(np.random.default_rng(0), config, plan.objects).astype(int)
        for frame in range(config.num_frames):
            masks = [_solid(shown, frame, config.frame_size) for shown in plan.objects]
            nearest_first = sorted(zip(plan.objects, masks, strict=True), key=lambda p: p[0].depth)
            free = np.ones((config.frame_size, config.frame_size), bool)
            for shown, mask in nearest_first:
                error = np.abs(video[frame] - np.array(shown.rgb)).max(axis=-1)[mask & free]
                assert (error < 30).all()
                checked += np.count_nonzero(mask & ~free)
                free &= ~_solid(shown, frame, config.frame_size, least=1e-6)
    assert checked > 1000


def _solid(shown, frame, frame_size, least=0.95):
    """bool[height, width]: where the digit has at least this much ink, by padding and cropping."""
    mask = np.zeros((3 * frame_size, 3 * frame_size), bool)
    if shown.path.first_frame <= frame < shown.path.end_frame:
        top, left = shown.path.corners[frame] + frame_size
        if 0 <= top < 2 * frame_size and 0 <= left < 2 * frame_size:
            height, width = shown.ink.shape
            mask[top : top + height, left : left + width] = shown.ink >= least
    return mask[frame_size : 2 * frame_size, frame_size : 2 * frame_size]


def _centers(entry):
    times = [round(sighting["time_seconds"], 4) for sighting in entry["track"]]
    boxes = np.array([sighting["box_yxyx_norm"] for sighting in entry["track"]])
    return dict(zip(times, (boxes[:, :2] + boxes[:, 2:]) / 2, strict=True))


def test_directions_are_those_of_the_boxes(config, items):
    """Whole digits move the way their track says, by at least 2 pixels over the clip."""
    for item in items:
        for entry in item["objects"]:
            whole = [s for s in entry["track"] if _is_inside(s["box_yxyx_norm"])]
            directions = {sighting["direction"] for sighting in whole}
            if len(whole) < 6 or len(directions) > 1:
                continue
            boxes = np.array([sighting["box_yxyx_norm"] for sighting in whole])
            shift = (boxes[-1] - boxes[0])[:2] * config.frame_size
            moved = np.where(np.abs(shift) > 1.01, np.sign(shift), 0)
            expected = np.array(DIRECTIONS[directions.pop()])
            assert (moved * expected >= 0).all() and (moved * (1 - np.abs(expected)) == 0).all()


def _is_inside(box):
    return min(box[:2]) > 0 and max(box[2:]) < 1


def test_entering_digits_come_in_when_they_are_named(config, items):
    entered = left = 0
    for item in items:
        for entry, about, utterance in zip(
            item["objects"], item["metadata"]["objects"], item["utterances"], strict=True
        ):
            first, last = entry["track"][0], entry["track"][-1]
            frame_seconds = 1 / config.frame_rate_hz
            if about["enters_from"]:
                entered += 1
                delay = utterance["start_seconds"] - first["time_seconds"]
                assert 0 <= delay < frame_seconds
                assert 0.05 < first["visibility"] < 0.95
            else:
                assert first["time_seconds"] == 0
            gone = last["time_seconds"] < config.clip_seconds - 1.5 * frame_seconds
            assert gone == bool(about["leaves_to"])
            if about["leaves_to"]:
                left += 1
                assert utterance["end_seconds"] < last["time_seconds"] + frame_seconds
    assert entered >= 3 and left >= 3


def test_relations_recomputed_from_tracks(config, items):
    found = set()
    for item in items:
        centers = [_centers(entry) for entry in item["objects"]]
        about = item["metadata"]["objects"]
        expected = set()
        for a in range(len(centers)):
            for b in range(len(centers)):
                shared = sorted(set(centers[a]) & set(centers[b]))
                for axis, predicate in ((1, "left_of"), (0, "above")):
                    gaps = [centers[b][t][axis] - centers[a][t][axis] for t in shared]
                    if a != b and gaps and min(gaps) >= 0.05 - 1e-4:
                        expected.add((a, predicate, b))
                if a < b and about[a]["colour"] == about[b]["colour"]:
                    expected.add((a, "same_colour", b))
                if b == a + 1:
                    expected.add((a, "named_before", b))
        listed = {(r["subject_id"], r["predicate"], r["object_id"]) for r in item["relations"]}
        compared = {relation[1] for relation in expected}
        assert {relation for relation in listed if relation[1] in compared} == expected
        found |= {relation[1] for relation in listed}
    assert found == {
        "left_of",
        "above",
        "same_colour",
        "named_before",
        "larger_than",
        "in_front_of",
    }


def test_front_and_size_relations(plans, items):
    for plan, item in zip(plans, items, strict=True):
        listed = {(r["subject_id"], r["predicate"], r["object_id"]) for r in item["relations"]}
        for a, predicate, b in listed:
            if predicate == "in_front_of":
                depths = [entry["track"][0]["depth"] for entry in item["objects"]]
                assert depths[a] < depths[b]
                assert min(s["visibility"] for s in item["objects"][b]["track"]) < 1
            if predicate == "larger_than":
                heights = [len(shown.ink) for shown in plan.objects]
                assert heights[a] >= 1.2 * heights[b]


def test_occlusion_share():
    def share(wanted):
        config = make_config("pairs", occlusion_share=wanted)
        plans = [plan_clip(config, "train", index) for index in range(30)]
        return np.mean([any(s.hidden_by for t in plan.sightings for s in t) for plan in plans])

    assert share(0.0) <= 0.1 and share(1.0) >= 0.9


def test_no_digit_image_is_in_two_splits():
    for digit in range(10):
        sets = [set(digit_images.image_indices(split, digit)) for split in SPLITS]
        assert sum(map(len, sets)) == len(set.union(*sets)) > 170
        assert min(map(len, sets)) >= 10


def test_clips_use_the_images_of_their_split():
    config = make_config("single")
    for split in SPLITS:
        for index in range(6):
            (shown,) = plan_clip(config, split, index).objects
            assert shown.image_index in digit_images.image_indices(split, shown.digit)


def test_single_digits_are_large_and_inside():
    config = make_config("single")
    for index in range(20):
        (track,) = plan_clip(config, "train", index).sightings
        assert len(track) == config.num_frames
        heights = {s.box_yxyx[2] - s.box_yxyx[0] for s in track}
        assert all(0.4 * 64 <= height <= 0.75 * 64 for height in heights)
        assert {sighting.visibility for sighting in track} == {1.0}
