"""The task: the battery, its targets and losses by hand, sampled words, what it refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests import task_battery
from tests.trainers.tasks.character_language_model.toy_captions import (
    WORDS,
    make_batch,
    make_input,
    make_task,
    write_vocabulary,
)
from trainers.data.parts.text.config import TextInputConfig
from trainers.tasks.character_language_model.task import directed_targets
from trainers.tasks.character_language_model.word_panels import word_probabilities


def loss_of(task, model, batch, training=True, seed=(1, 2)):
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    options = {"stream": "captions", "training": training}
    outputs = task.encode(model, tensors, seed=tf.constant(seed), **options)
    return task.terms(model, outputs, tensors, gather=tf.identity, **options)


@pytest.mark.parametrize("num_sampled_words", [16, pytest.param(0, marks=pytest.mark.slow)])
def test_battery(num_sampled_words):
    task = make_task(num_sampled_words=num_sampled_words)
    task_battery.check_task(task, make_batch(), stream="captions", gradient_rtol=1e-3)
    assert task.tokens_per_example("captions") == 8


def test_targets_by_hand():
    batch = make_batch() | {"characters_mask": np.array([1.0, 1.0, 1.0, 0.0], np.float32)}
    ahead, back = directed_targets({name: tf.constant(value) for name, value in batch.items()})
    words = batch["words"]
    # begin a big dog end
    assert ahead.words[0].numpy().tolist() == [*words[0, 1:5], 0, 0, 0, 0]
    assert ahead.mask[0].numpy().tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert back.words[0].numpy().tolist() == [0, *words[0, :4], 2, 0, 0]
    assert back.mask[0].numpy().tolist() == [0, 1, 1, 1, 1, 0, 0, 0]
    # Of a caption that is cut nothing says what comes behind its last word.
    assert ahead.mask[1].numpy().tolist() == [1] * 6 + [0, 0]
    assert back.mask[1].numpy().tolist() == [0] + [1] * 6 + [0]
    # One without words only ends and begins; one that is not there counts nothing.
    assert float(tf.reduce_sum(ahead.mask[2])) == float(tf.reduce_sum(back.mask[2])) == 1
    assert not np.any(ahead.mask[3]) and not np.any(back.mask[3])


def test_loss_is_the_mean_of_both_directions_and_near_that_of_even_words():
    task, batch = make_task(), make_batch()
    batch["example_mask"][0] = 0.0
    model = task.build_model()
    terms = loss_of(task, model, batch)
    assert float(terms.loss.weight) == 2 * (6 + 1 + 3)
    parts = [terms.metrics[f"{name}_loss"] for name in ("forward", "backward")]
    assert float(terms.loss.sum) == pytest.approx(sum(float(part.sum) for part in parts))
    assert abs(float(terms.loss.sum / terms.loss.weight) - np.log(WORDS)) < 0.5
    shares = word_probabilities(
        model, tf.constant(batch["characters"]), tf.constant(batch["words"])
    ).numpy()[1:]
    for direction, part in enumerate(parts):
        said = shares[:, direction]
        assert -np.log(said[said > 0]).sum() == pytest.approx(float(part.sum), rel=1e-4)


def test_all_words_as_sample_are_the_softmax_and_chunks_change_nothing():
    batch, whole = make_batch(), make_task()
    model = whole.build_model()
    expected = loss_of(whole, model, batch).loss
    others = (make_task(num_sampled_words=WORDS), make_task(loss_chunks=4))
    for task in others:
        found = loss_of(task, model, batch).loss
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sampled_words_are_of_training_and_of_the_seed():
    batch, task = make_batch(), make_task(num_sampled_words=8)
    model = task.build_model()
    first, again, other = (
        float(loss_of(task, model, batch, seed=seed).loss.sum) for seed in ((1, 2), (1, 2), (3, 2))
    )
    assert first == again != other
    full = loss_of(make_task(), model, batch, training=False).loss.sum
    held_out = loss_of(task, model, batch, training=False).loss.sum
    assert float(held_out) == pytest.approx(float(full), rel=1e-6)


def test_panels_show_words_and_what_they_were_given():
    task, batch = make_task(), make_batch()
    batch = {name: tf.constant(value) for name, value in batch.items()}
    panels = task.summaries(task.build_model(), batch, stream="captions")
    assert [panel.tag for panel in panels] == [f"words/{number}" for number in range(4)]
    lines = panels[3].markdown.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["begin", "Dogs,", "two!", "end"]
    cells = [[cell.strip() for cell in line.split("|")[2:4]] for line in lines[2:]]
    assert cells[0][0] == cells[-1][1] == "-"
    assert all(0.0 < float(cell) < 0.2 for cell in (*cells[1], cells[0][1]))


def test_what_cannot_work_is_refused(tmp_path):
    for words, inputs, fields in (
        ("num_characters is 9, but", make_input(num_characters=9), {}),
        ("num_words \\+ 2 of streams.captions.input.characters is 8", None, {"loss_chunks": 3}),
        ("num_sampled_words is 65; it must be at most 64", None, {"num_sampled_words": 65}),
        ("input.characters is null", dataclasses.replace(make_input(), characters=None), {}),
        ("no use for it", dataclasses.replace(make_input(), text=TextInputConfig()), {}),
    ):
        with pytest.raises(UserError, match=words):
            make_task(inputs, **fields)
    vocabulary = write_vocabulary(tmp_path / "words.txt", [f"word{n}" for n in range(61)])
    with pytest.raises(UserError, match="has 65 entries, more than task.model.vocabulary_size"):
        make_task(make_input(vocabulary=vocabulary)).build_model()
