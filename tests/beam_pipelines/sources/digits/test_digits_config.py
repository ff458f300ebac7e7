"""Presets, checks, and that every field changes what is generated."""

import dataclasses
import json

import pytest

from beam_pipelines.sources.digits.clip import make_clip
from beam_pipelines.sources.digits.config import PRESETS, SPLITS, DigitsConfig, make_config
from mm_models.errors import UserError

# A value other than the default for every field that shapes clips.
_OTHER_VALUES = {
    "seed": 1,
    "frame_size": 128,
    "frame_rate_hz": 7.0,
    "num_frames": 18,
    "min_digits": 3,
    "max_digits": 2,
    "min_height_share": 0.4,
    "max_height_share": 0.3,
    "spread_share": 0.3,
    "max_speed": 0.2,
    "num_directions": 4,
    "still_share": 0.9,
    "bounce_share": 1.0,
    "enter_share": 1.0,
    "leave_share": 1.0,
    "max_visible_share": 0.5,
    "same_color_share": 1.0,
    "occlusion_share": 1.0,
    "rotation_degrees": 30.0,
    "background": "dark",
    "video_noise": 20.0,
    "audio_noise": 0.1,
    "languages": ("fr", "en"),
    "speech_language": "de",
    "captions_per_moment": 2,
    "neighbour_captions": 2,
    "canonical_captions": 1,
    "related_captions": 1,
    "color_labels": 1,
    "questions_per_language": 1,
    "question_kinds": ("count",),
    "phrase_kinds": ("looks",),
    "digit_only_caption_share": 1.0,
    "looks_caption_share": 1.0,
    "wrong_caption_share": 1.0,
    "wrong_audio_share": 1.0,
}


@pytest.fixture(scope="module")
def plain_clips():
    return [_content(make_config(), index) for index in range(4)]


def _content(config, index):
    clip = make_clip(config, "train", index)
    item = {key: value for key, value in clip.item.items() if key != "metadata"}
    return json.dumps(item), clip.media


@pytest.mark.parametrize("name", sorted(_OTHER_VALUES))
def test_every_field_changes_the_clips(name, plain_clips):
    config = make_config(**{name: _OTHER_VALUES[name]})
    assert any(_content(config, index) != plain_clips[index] for index in range(4))


def test_no_field_is_left_out():
    counts = {f"num_{split}" for split in SPLITS}
    fields = {field.name for field in dataclasses.fields(DigitsConfig)}
    assert fields == set(_OTHER_VALUES) | counts | {"preset"}


def test_presets():
    for preset in PRESETS:
        assert make_config(preset).preset == preset
    single = make_config("single")
    assert (single.min_digits, single.max_digits) == (1, 1)
    assert single.digit_only_caption_share == 1
    assert (single.num_frames, single.frame_rate_hz, single.frame_size) == (17, 8, 64)
    assert (make_config().min_digits, make_config().max_digits) == (1, 4)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"preset": "singel"}, "singel"),
        ({"frame_size": 63}, "frame_size"),
        ({"frame_rate_hz": 0.5}, "frame_rate"),
        ({"num_frames": 8}, "at least 15 frames"),
        ({"min_digits": 3, "max_digits": 2}, "min_digits"),
        ({"max_digits": 5}, "max_digits"),
        ({"wrong_caption_share": 1.5}, "wrong_caption_share"),
        ({"num_val": -1}, "num_val"),
        ({"languages": ("en", "it")}, "it"),
        ({"languages": ("en", "en")}, "languages"),
        ({"speech_language": "it"}, "speech_language"),
        ({"background": "sunny"}, "background"),
        ({"num_train": 0, "num_val": 0, "num_test": 0}, "num_train"),
        ({"max_height_share": 0.8}, "max_height_share"),
        ({"captions_per_moment": 9}, "captions_per_moment"),
        ({"max_speed": float("nan")}, "max_speed"),
        ({"enter_share": float("nan")}, "enter_share"),
        ({"max_visible_share": 0.1}, "max_visible_share"),
        ({"phrase_kinds": ("looks", "smell")}, "phrase_kinds of corpus digits is smell"),
    ],
)
def test_bad_values_are_named(overrides, named):
    with pytest.raises(UserError, match=named):
        make_config(**overrides)
