"""Texts as vectors of a frozen encoder: what is drawn, every phrase once, boxes, mistakes."""

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.word_encoder import WordEncoder
from tests.mm_models.text.dummy_word_encoder import write_encoder
from tests.trainers.data.phrase_records import ABSENT, Phrase, Scene, phrase_input, write_scenes
from trainers.data import plan as data_plan
from trainers.data.config import DatasetConfig
from trainers.data.first_batch import check_input
from trainers.data.parts.base import batch_specs
from trainers.data.parts.phrases.catalog import PhraseCatalog
from trainers.data.pipeline import build_eval_dataset, build_train_dataset

LEFT, RIGHT = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
SENTENCE = "A red dog and two dogs run ."
# Two dogs that one phrase is about, a phrase inside of a sentence, one that cannot be grounded, and
# one in German.
DOGS = Scene(
    boxes={7: [LEFT, ABSENT, LEFT], 3: [ABSENT, RIGHT, RIGHT], 9: [ABSENT, ABSENT, ABSENT]},
    labels={7: "dog", 3: "animal", 9: "notvisual"},
    phrases=[
        Phrase("two dogs", 7, SENTENCE, 4),
        Phrase("A red dog", 7, SENTENCE, 0),
        Phrase("two dogs", 3, SENTENCE, 4),
        Phrase("two dogs", 3),
        Phrase("time", 9),
        Phrase("zwei Hunde", 3, language="de"),
    ],
    captions=[SENTENCE, "dogs", "  "],
)
SILENT = Scene({1: [RIGHT] * 3}, {1: "cat"}, [], captions=["a cat"])
CAT = Scene({1: [RIGHT] * 3}, {1: "cat"}, [Phrase("a cat", 1)])
ENGLISH = {"languages": ["en"], "each": True}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "words" / "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), [DOGS, SILENT, CAT])


def _layers(encoder: str, text: str, num_words: int = 4) -> np.ndarray:
    return WordEncoder(encoder, "").encode(tf.constant([text]), num_words).layers[0].numpy()


def _evaluated(config) -> list[dict]:
    return list(build_eval_dataset(config).as_numpy_iterator())


def test_every_different_phrase_is_evaluated_once_in_order(folder, encoder):
    video = {"num_frames": 3}
    config = phrase_input(folder, encoder, phrases=ENGLISH, video=video, batch_size=3)
    found = _evaluated(config)
    assert build_eval_dataset(config).element_spec == batch_specs(config)
    batch = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    # Six rows of two batches, of which five are phrases.
    assert batch["example_mask"].tolist() == [1, 1, 1, 1, 1, 0]
    assert batch["example_id"].tolist() == [0, 0, 0, 0, 2, -1]
    assert batch["example_item"].tolist() == [0, 1, 2, 3, 0, -1]
    assert batch["phrase_box_count"].tolist() == [2, 1, 1, 0, 1, 0]
    # The sentence is encoded, of whose eight words four fit; the second phrase begins behind them.
    texts = [SENTENCE, SENTENCE, "two dogs", "time", "a cat", ""]
    assert batch["phrase_num_words"].tolist() == [8, 8, 2, 1, 2, 0]
    for row, text in enumerate(texts):
        np.testing.assert_allclose(batch["phrase_layers"][row], _layers(encoder, text), rtol=1e-5)
    spans = [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert batch["phrase_span"].tolist() == spans
    assert batch["phrases_mask"].tolist() == [1, 1, 1, 1, 1, 0]
    boxes = np.zeros((3, 8, 4))
    boxes[0, 0] = boxes[2, 0] = LEFT
    boxes[1, 1] = boxes[2, 1] = RIGHT
    np.testing.assert_array_equal(batch["phrase_boxes_yxyx_norm"][0], boxes)
    assert not batch["phrase_boxes_yxyx_norm"][3].any()
    dogs, cat = map(PhraseCatalog.open(config).record, (0, 2))
    assert [phrase.text for phrase in dogs.phrases] == ["two dogs", "A red dog", "two dogs", "time"]
    assert dogs.phrases[0].categories == ("dog", "animal") and cat.phrases[0].sentence == "a cat"
    assert dogs.object_boxes.shape == (3, 2, 4)


def test_boxes_are_those_of_the_frames_that_the_video_shows(folder, encoder):
    # The central frame of three, as the video part takes it.
    config = phrase_input(folder, encoder, phrases=ENGLISH | {"num_words": 9}, batch_size=8)
    (batch,) = _evaluated(config)
    np.testing.assert_array_equal(
        batch["phrase_boxes_yxyx_norm"][0, :, :3], [[ABSENT, RIGHT, ABSENT]]
    )
    # Absent here, and in the clip nonetheless.
    assert batch["phrase_box_count"][1] == 1 and not batch["phrase_boxes_yxyx_norm"][1].any()
    red = np.rint(((batch["video"][0, 0, 2, 2, 0] + 1) * 127.5 - 20) / 12)
    assert red == 1
    assert batch["phrase_span"][0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0]


def test_old_records_have_phrases_that_stand_for_themselves(tmp_path, encoder):
    folder = write_scenes(tmp_path, [DOGS, CAT], with_sentences=False)
    (batch,) = _evaluated(phrase_input(folder, encoder, phrases={"each": True}, batch_size=8))
    assert batch["example_item"].tolist()[:5] == [0, 1, 2, 3, 0]
    assert batch["phrase_box_count"].tolist()[:5] == [2, 1, 0, 1, 1]
    np.testing.assert_array_equal(batch["phrase_span"], batch["phrase_word_mask"])
    np.testing.assert_allclose(batch["phrase_layers"][1], _layers(encoder, "A red dog"), rtol=1e-5)


def _drawn(batches, encoder, texts) -> list[str]:
    known = {_layers(encoder, text).tobytes(): text for text in texts}
    return [known[row.tobytes()] for batch in batches for row in batch["phrase_layers"]]


def test_training_draws_each_different_text_alike_and_repeats_itself(folder, encoder):
    texts = ["two dogs", "A red dog", "time", "a cat", ""]
    phrases = {"source": "phrases", "languages": ["en"]}
    config = phrase_input(folder, encoder, phrases=phrases, batch_size=3)
    batches = list(build_train_dataset(config, seed=5).take(30).as_numpy_iterator())
    counts = collections.Counter(_drawn(batches, encoder, texts))
    # The record without phrases has none; three different ones of another one are as likely.
    assert counts[""] == counts["a cat"] == 30
    assert all(3 < counts[text] < 19 for text in texts[:3])
    for batch in batches:
        assert sorted(batch["example_id"].tolist()) == [0, 1, 2]
        np.testing.assert_array_equal(batch["phrases_mask"], batch["example_id"] != 1)
    (later,) = build_train_dataset(config, seed=5, start_step=7).take(1).as_numpy_iterator()
    np.testing.assert_array_equal(later["phrase_layers"], batches[7]["phrase_layers"])
    captions = phrase_input(folder, encoder, batch_size=3)
    drawn = _drawn(
        build_train_dataset(captions, seed=5).take(9).as_numpy_iterator(),
        encoder,
        [SENTENCE, "dogs", "a cat", ""],
    )
    assert collections.Counter(drawn)["a cat"] == 9 and {SENTENCE, "dogs"} < set(drawn)
    # Evaluation takes the first of each record.
    (batch,) = _evaluated(captions)
    assert _drawn([batch], encoder, [SENTENCE, "a cat", ""])[:2] == [SENTENCE, "a cat"]
    assert batch["phrases_mask"].tolist() == [1, 1, 0]


def test_replicas_share_the_global_batch_and_no_picture_comes_twice(tmp_path, encoder):
    scenes = [dataclasses.replace(DOGS, captions=[f"dog {n}", f"{n}"]) for n in range(7)]
    folder = write_scenes(tmp_path, scenes)
    # The same files twice: a picture of one data set may not stand beside itself of the other.
    datasets = {name: DatasetConfig(path=folder, split="test") for name in ("a", "b")}
    config = phrase_input(folder, encoder, datasets=datasets, batch_size=6)
    whole = list(build_train_dataset(config, seed=1).take(12).as_numpy_iterator())
    for batch in whole:
        assert len({int(number) % 2**40 for number in batch["example_id"]}) == 6
    assert {int(each) >> 40 for batch in whole for each in batch["example_id"]} == {0, 1}
    context = tf.distribute.InputContext(1, 0, num_replicas_in_sync=2)
    parts = build_train_dataset(config, seed=1, input_context=context).take(6)
    parts = list(parts.as_numpy_iterator())
    for name in ("example_id", "phrase_layers", "phrase_word_mask", "video"):
        for step in range(3):
            halves = [parts[2 * step][name], parts[2 * step + 1][name]]
            np.testing.assert_array_equal(np.concatenate(halves), whole[step][name])
    with pytest.raises(UserError, match="batch_size is 16, of which 8 rows are of .* has 7 rec"):
        build_train_dataset(dataclasses.replace(config, batch_size=16), seed=1)


def test_facts_and_plan_tell_what_is_cut_and_missing(folder, encoder):
    config = phrase_input(folder, encoder, phrases=ENGLISH)
    lines = check_input(config, training=False)
    (told,) = [line for line in lines if "phrases of" in line]
    # Of 8 + 8 + 2 + 1 words those of the sentences are cut to four each.
    assert f"words cut off {8 / 19:.4g}" in told and "rows that have it 1" in told
    assert "phrases without a box 0.25" in told
    captions = phrase_input(folder, encoder, batch_size=2)
    assert "scenes: of 3 records, video 100%, phrases 67%" in "\n".join(check_input(captions))
    described = str(data_plan.plan(captions))
    assert f"phrases: one of the captions, at most 4 words of width 4 by {encoder}" in described


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"phrases": {"encoder": ""}}, "input.phrases.encoder is empty"),
        ({"phrases": {"width": 5}}, "input.phrases.width is 5, but word vectors of .* have 4"),
        ({"phrases": {"source": "words"}}, "phrases.source is 'words'"),
        ({"phrases": {"languages": ["en"]}}, "languages is about phrases, and .* is captions"),
        ({"phrases": ENGLISH}, "each takes every phrase once, for evaluators"),
        ({"phrases": {"max_boxes": 0}}, "phrases.max_boxes is 0; it must be at least 1"),
        ({"phrases": ENGLISH, "video": {"crop": "center"}}, "boxes, which input.video moves"),
        ({"phrases": {"encoder": "/nowhere"}}, "'/nowhere', which holds no saved_model.pb"),
    ],
)
def test_fields_that_cannot_work_are_refused(folder, encoder, fields, said):
    with pytest.raises(UserError, match=said):
        data_plan.plan(phrase_input(folder, encoder, **fields))


def test_records_without_what_is_asked_for_are_refused(tmp_path, folder, encoder):
    silent = write_scenes(tmp_path, [SILENT])
    with pytest.raises(UserError, match=r"no record of .* \(test\) has one in en; preprocess"):
        _evaluated(phrase_input(silent, encoder, phrases=ENGLISH))
    french = {"source": "phrases", "languages": ["fr"]}
    with pytest.raises(UserError, match=r"phrases.languages is \['fr'\] and theirs are .*de.*en"):
        check_input(phrase_input(folder, encoder, phrases=french, batch_size=2))
    few = phrase_input(folder, encoder, phrases=ENGLISH | {"max_boxes": 1})
    with pytest.raises(UserError, match="max_boxes is 1, but 'two dogs' of record .* has 2"):
        _evaluated(few)
