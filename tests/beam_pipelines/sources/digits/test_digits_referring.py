"""Presets whose phrases can be found in a picture, and digits that are there for a time."""

import collections

import numpy as np
import pytest

from beam_pipelines.sources.digits.config import make_config
from beam_pipelines.sources.digits.language.lexicon import COLORS, DIGIT_WORDS
from tests.beam_pipelines.sources.digits.manifests import items as _items
from tests.beam_pipelines.sources.digits.manifests import named as _named
from tests.beam_pipelines.sources.digits.manifests import words as _words

_PRESETS = ("referring", "appearing")


@pytest.fixture(scope="module", params=_PRESETS)
def clips(request):
    return _items(50, request.param, split="test")


def _shown(item):
    """Digit, colour and size of each object, as words."""
    about = item["metadata"]["objects"]
    return [{DIGIT_WORDS["en"][each["digit"]], each["colour"], each["size"]} for each in about]


def test_a_phrase_holds_for_its_object_alone(clips):
    kinds = collections.Counter()
    for item in clips:
        shown = _shown(item)
        for place, entry in enumerate(item["objects"]):
            for phrase in entry["phrases"]:
                said = set(_words(phrase["text"])) - {"the", "digit"}
                assert said and phrase["language"] == "en"
                assert [place] == [at for at, looks in enumerate(shown) if said <= looks]
                kinds[len(said)] += 1
    assert min(kinds[number] for number in (1, 2, 3)) > 10 and set(kinds) == {1, 2, 3}


def test_captions_describe_one_digit_by_its_looks(clips):
    sizes = of_two = 0
    for item in clips:
        shown = _shown(item)
        for caption in item["captions"]:
            if len(_named(caption["text"])) == 2:  # One is in front of the other.
                of_two += 1
                continue
            assert (caption["language"], caption["style"]) == ("en", "full")
            said = set(_words(caption["text"]))
            (digit,) = _named(caption["text"])
            (looks,) = (looks for looks in shown if DIGIT_WORDS["en"][digit] in looks)
            assert len(said & set(COLORS)) == 1
            assert said & {*COLORS, "small", "large"} <= looks
            sizes += bool(said & {"small", "large"})
        assert {label["text"] for label in item["labels"]} & set(COLORS)
    assert sizes > 30 and of_two < 5


def test_referring_clips_show_all_digits_all_the_time_and_often_in_one_colour():
    config = make_config("referring")
    shared, visibility = [], []
    for item in _items(50, "referring", split="test"):
        colors = [each["colour"] for each in item["metadata"]["objects"]]
        assert 2 <= len(colors) <= 4
        for color, entry in zip(colors, item["objects"], strict=True):
            assert len(entry["track"]) == config.num_frames
            visibility += [sighting["visibility"] for sighting in entry["track"]]
            shared += [colors.count(color) > 1] * len(entry["phrases"])
            heights = [s["box_yxyx_norm"][2] - s["box_yxyx_norm"][0] for s in entry["track"]]
            assert min(heights) * config.frame_size >= 17
    assert 0.3 < np.mean(shared) < 0.6
    assert np.mean(visibility) > 0.98 and np.mean(np.array(visibility) < 0.8) < 0.02


@pytest.mark.parametrize("crossing", ["", "enter_share", "leave_share"])
def test_appearing_digits_are_seen_for_a_time_that_holds_their_name(crossing):
    config = make_config("appearing")
    longest, starts = int(config.max_visible_share * config.num_frames), collections.Counter()
    said_words = collections.Counter()
    for item in _items(25, "appearing", **({crossing: 1.0} if crossing else {})):
        said_words.update(word for each in item["captions"] for word in _words(each["text"]))
        for entry, said in zip(item["objects"], item["utterances"], strict=True):
            frames = [round(s["time_seconds"] * config.frame_rate_hz) for s in entry["track"]]
            assert frames == list(range(frames[0], frames[-1] + 1)) and len(frames) <= longest
            named_in = int(said["start_seconds"] * config.frame_rate_hz)
            # One that leaves or enters has a part outside the frame, at times the whole of it.
            slack = 2 if crossing else 0
            assert frames[0] - slack <= named_in <= frames[-1] + slack
            starts[frames[0] - named_in] += 1
    assert len(starts) > (1 if crossing == "enter_share" else 3)
    assert bool(said_words["enters"]) == (crossing == "enter_share")
    assert bool(said_words["leaves"]) == (crossing == "leave_share")


def test_captions_that_say_looks_say_no_motion():
    said = [
        {word for caption in item["captions"] for word in _words(caption["text"])}
        for share in (0.0, 1.0)
        for item in _items(15, "referring", looks_caption_share=share)
    ]
    verbs = {"moves", "moving", "travels", "goes", "stays", "rests", "move"}
    assert all(words & verbs for words in said[:15])
    assert not any(words & verbs for words in said[15:])
