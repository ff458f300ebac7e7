"""Captions as words of characters: what is drawn, what evaluation reads, what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.word_characters import sentence_characters
from tests.trainers.record_factory import write_shard
from tests.trainers.tasks.character_language_model.toy_captions import (
    NUM_CHARACTERS,
    NUM_WORDS,
    make_input,
    write_records,
    write_vocabulary,
)
from trainers.data.first_batch import check_input
from trainers.data.pipeline import build_eval_dataset, build_train_dataset

# Text, language and style of each caption of each record.
CAPTIONS = [
    [
        ("A dog.", "en", "full"),
        ("ein Hund", "de", "full"),
        ("", "en", "full"),
        ("dog", "en", "one"),
    ],
    [],
    [("one two three four five six seven", "en", "full")],
    [("der Hund", "de", "full"), ("the dog", "en", "full")],
]
ENGLISH = {"caption_languages": ["en"]}
VOCABULARY = ["dog", "A", "dog.", "the", "one", "two", "six"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    records = write_records(folder / "toy.tfrecord", CAPTIONS)
    return records, write_vocabulary(folder / "words.txt", VOCABULARY)


def rows_of(batches):
    """Characters, ids and mask of all rows that are examples."""
    names = ("characters", "words", "characters_mask", "example_id")
    batches = [{name: value.numpy() for name, value in batch.items()} for batch in batches]
    real = [batch["example_mask"] > 0 for batch in batches]
    return {
        name: np.concatenate([b[name][r] for b, r in zip(batches, real, strict=True)])
        for name in names
    }


def spelled(sentences):
    return sentence_characters(tf.constant(sentences), NUM_CHARACTERS, NUM_WORDS).characters


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (ENGLISH, {0: ["A dog.", "dog"], 2: [CAPTIONS[2][0][0]], 3: ["the dog"]}),
        (ENGLISH | {"caption_styles": ["one"]}, {0: ["dog"]}),
        (
            {},
            {0: ["A dog.", "ein Hund", "dog"], 2: [CAPTIONS[2][0][0]], 3: ["der Hund", "the dog"]},
        ),
    ],
)
def test_evaluation_reads_every_kept_caption_once(place, kept, expected):
    found = rows_of(build_eval_dataset(make_input(*place, dataset=kept)))
    assert found["example_id"].tolist() == [key for key, texts in expected.items() for _ in texts]
    np.testing.assert_array_equal(found["characters"], spelled(sum(expected.values(), [])))
    assert np.all(found["characters_mask"] == 1.0)


def test_ids_by_hand(place):
    found = rows_of(build_eval_dataset(make_input(*place, dataset=ENGLISH)))
    assert found["words"].tolist() == [
        [1, 5, 6, 2, 0, 0, 0, 0],
        [1, 4, 2, 0, 0, 0, 0, 0],
        [1, 8, 9, 3, 3, 3, 10, 0],
        [1, 7, 4, 2, 0, 0, 0, 0],
    ]


def test_training_draws_one_of_the_captions(place):
    inputs = make_input(*place, batch_size=8)
    batches = list(build_train_dataset(inputs, seed=3).take(8))
    found = rows_of(batches)
    # Padding of the batch is none here; a record without captions has none.
    np.testing.assert_array_equal(found["characters_mask"], found["example_id"] != 1)
    every = [text for texts in CAPTIONS for text, _, _ in texts if text]
    known = {row.tobytes(): text for row, text in zip(spelled(every).numpy(), every, strict=True)}
    drawn = {
        known[row.tobytes()]
        for row, mask in zip(found["characters"], found["characters_mask"], strict=True)
        if mask
    }
    assert drawn == set(every)
    again = rows_of(build_train_dataset(inputs, seed=3).take(8))
    np.testing.assert_array_equal(found["characters"], again["characters"])


def test_the_look_before_the_first_step_counts_words(place, tmp_path):
    for training in (True, False):
        lines = "\n".join(check_input(make_input(*place, dataset=ENGLISH), training=training))
        assert "words of a caption" in lines and "unknown words" in lines
    unknown = write_vocabulary(tmp_path / "words.txt", ["Katze"])
    with pytest.raises(UserError, match="has none of the words of the captions"):
        check_input(make_input(place[0], unknown))


def test_mistakes_are_told(place, tmp_path):
    french = make_input(*place, dataset={"caption_languages": ["fr"]})
    with pytest.raises(UserError, match=r"caption_languages is \['fr'\] and theirs are"):
        check_input(french)
    with pytest.raises(UserError, match="no caption that the data sets keep"):
        build_eval_dataset(french)
    for words, fields in (
        ("num_words is 0", {"num_words": 0}),
        ("num_characters is 2; it must be at least 3", {"num_characters": 2}),
        ("vocabulary is empty", {"vocabulary": ""}),
    ):
        with pytest.raises(UserError, match=words):
            build_train_dataset(make_input(place[0], **{"vocabulary": place[1]} | fields), seed=0)


def test_a_damaged_record_costs_itself_where_that_is_allowed(place, tmp_path):
    with open(place[0], "rb") as file:
        content = bytearray(file.read())
    path = tmp_path / "damaged.tfrecord"
    content[20] ^= 255
    path.write_bytes(content)
    kept = {"corrupt_policy": "skip", "corrupt_share_limit": 0.5}
    found = rows_of(build_eval_dataset(make_input(str(path), place[1], dataset=kept)))
    assert found["example_id"].tolist() == [2, 3, 3]
    write_shard(str(path), [b"no record"])
    with pytest.raises(UserError, match="corrupt"):
        check_input(make_input(str(path), place[1]), training=False)
