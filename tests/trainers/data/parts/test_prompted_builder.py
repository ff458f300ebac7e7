"""Examples from facts, without records: languages, statements, wordings, objects in view."""

import collections

import numpy as np
import pytest

from mm_models.text.templates import load_templates
from tests.trainers.data.prompted_records import TEMPLATES, prompted, serialize, video
from trainers.data.parts.prompted.builder import Filters, PromptBuilder
from trainers.data.parts.prompted.scene import Scene, ask_which, see
from trainers.data.parts.record_facts import CaptionFact, RecordFacts, read_facts
from trainers.data.parts.sampling import sampled_frames

PHOTOS = TEMPLATES.replace(".yaml", "_photos.yaml")
NOTHING = Scene((), np.zeros((0, 4), np.float32), ())


def builder(task, path=TEMPLATES, languages=("en", "de"), **fields):
    config = prompted("", {task: fields}, languages=list(languages))
    return PromptBuilder(task, config, load_templates(path), str.split)


def facts(captions, labels=()) -> RecordFacts:
    empty = np.zeros((0, 0, 4), np.float32)
    return RecordFacts("k", "m", tuple(captions), (), tuple(labels), (), empty, empty[..., 0], 1)


def draws(task, *arguments, count=400):
    found = []
    for key in range(count):
        random = np.random.Generator(np.random.Philox(key=key))
        found.append(task.draw(*arguments, random))
    return found


def test_statements_are_asked_whether_true_or_wrong():
    wrong = facts([CaptionFact("there is a box", "en", "false_sentence", True)], ["false"])
    task = builder("statement", PHOTOS, with_wrong_captions=True)
    (option,) = task.options(wrong, NOTHING, Filters())
    example = task.build(wrong, NOTHING, Filters(), option, np.random.default_rng(0))
    assert example.prompt == "Answer in EN: true or false? there is a box <extra_id_0>"
    assert example.references == ("false",)
    assert not builder("statement", PHOTOS).options(wrong, NOTHING, Filters())
    assert not task.options(facts(wrong.captions), NOTHING, Filters())


def test_languages_of_texts():
    captions = [("a", ""), ("b", "de-AT"), ("c", "fr"), ("d", "en-GB")]
    many = facts([CaptionFact(text, language, "", False) for text, language in captions])
    task = builder("captioning", languages=("de", "en"))
    # A text without a language counts as the first one; regions do not matter.
    found = {(o.language, o.caption.text) for o in task.options(many, NOTHING, Filters())}
    assert found == {("de", "a"), ("de", "b"), ("en", "d")}
    kept = task.options(many, NOTHING, Filters(languages=("de-AT",)))
    assert [option.caption.text for option in kept] == ["b"]
    # However many captions a language has, it is as likely as the others.
    shares = collections.Counter(each.language for each in draws(task, many, NOTHING, Filters()))
    assert shares["de"] / 400 == pytest.approx(0.5, abs=0.08)


def test_wordings_follow_their_shares(tmp_path):
    with open(TEMPLATES, encoding="utf-8") as file:
        text = file.read().replace("      list:\n", "      list:\n        share: 6\n")
    (tmp_path / "t.yaml").write_text(text)
    task = builder("object_aware", str(tmp_path / "t.yaml"))
    clip = read_facts(serialize(1), {})
    filters = Filters(label_names=("one", "two", "three", "four", "five"))
    found = draws(task, clip, see(clip, np.array([2])), filters)
    shares = collections.Counter(each.variant for each in found)
    assert shares["list"] / 400 == pytest.approx(0.75, abs=0.07)
    answers = collections.Counter(
        each.references[0] for each in found if each.variant == "presence_one"
    )
    assert 0.25 < answers["yes"] / sum(answers.values()) < 0.75
    # Without names of other classes nothing absent can be asked for.
    assert {
        each.variant for each in draws(task, clip, see(clip, np.array([2])), Filters(), count=9)
    } == {"list"}


def test_objects_in_view():
    clip = read_facts(serialize(1), {})
    assert see(clip, None).names == ("one", "two") and see(clip, None).box_names == ()
    first = see(clip, np.array([0]))
    assert (first.names, first.box_names) == (("one",), ("one",))
    # Names from all frames, boxes from the middle one.
    several = see(clip, np.array([0, 1, 2]))
    assert (several.names, several.box_names) == (("one", "two"), ("one",))
    none = read_facts(serialize(1), {}, with_boxes=False)
    assert not none.boxes_yxyx_norm.size and none.objects == clip.objects
    for seed in range(50):
        random = np.random.default_rng(seed)
        candidates, there = ask_which(several, ("three", "four"), random)
        assert len(set(candidates)) == len(candidates) >= 2
        assert there == [name for name in candidates if name in ("one", "two")]


def test_sampled_frames():
    stride = video(num_frames=3, frame_stride=2)
    assert sampled_frames(stride, 9, 0.0, training=True).tolist() == [0, 2, 4]
    assert sampled_frames(stride, 9, 0.999, training=True).tolist() == [4, 6, 8]
    assert sampled_frames(stride, 9, 0.5, training=False).tolist() == [1, 3, 5]
    assert sampled_frames(stride, 2, 0.9, training=True).tolist() == [0, 0, 0]
    assert sampled_frames(stride, 0, 0.9, training=False).tolist() == [0, 0, 0]
