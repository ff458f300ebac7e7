"""The task of grounding: the battery, its loss by hand, what it refuses, what it shows."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests import task_battery
from tests.trainers.tasks.grounding.make_grounding import BATCH, SIZE, make_batch, make_task
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.planning.sharding import rule_of


def terms_of(task, batch, model=None):
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    model = model or task.build_model()
    options = {"stream": "pictures", "training": False}
    outputs = task.encode(model, tensors, seed=tf.constant([1, 2]), **options)
    return task.terms(model, outputs, tensors, gather=tf.identity, **options)


OTHER_PARTS = {"text": "recurrent", "mapping": "conv3x3"}


@pytest.mark.parametrize("model", [{}, pytest.param(OTHER_PARTS, marks=pytest.mark.slow)])
def test_battery(model):
    task_battery.check_task(
        make_task(model=model), make_batch(), stream="pictures", gradient_rtol=1e-3
    )


def test_untrained_pairs_of_one_kind_cost_what_chance_costs():
    """Equal pictures with equal sentences: 4 ln B by both branches."""
    batch = {name: np.repeat(value[:1], BATCH, axis=0) for name, value in make_batch().items()}
    terms = terms_of(make_task(kernel_decay=0.0), batch)
    assert float(terms.loss.sum / terms.loss.weight) == pytest.approx(4 * np.log(BATCH), rel=1e-5)
    for branch in ("word", "sentence"):
        accuracy = terms.metrics[f"{branch}_accuracy"]
        assert float(accuracy.sum / accuracy.weight) == pytest.approx(1 / BATCH)


def test_every_weight_of_the_loss_counts_what_it_says():
    batch, model = make_batch(), make_task().build_model()
    whole = terms_of(make_task(), batch, model)
    parts = {name: float(term.sum / term.weight) for name, term in whole.metrics.items()}
    for fields, expected in (
        ({}, parts["word_loss"] + parts["sentence_loss"] + parts["kernel_decay"]),
        (
            {"word_weight": 0.5, "sentence_weight": 0.0, "kernel_decay": 0.0},
            0.5 * parts["word_loss"],
        ),
        ({"word_weight": 0.0, "kernel_decay": 0.0}, parts["sentence_loss"]),
        (
            {"kernel_decay": 1.0},
            parts["word_loss"] + parts["sentence_loss"] + 4000.0 * parts["kernel_decay"],
        ),
    ):
        terms = terms_of(make_task(**fields), batch, model)
        assert float(terms.loss.sum / terms.loss.weight) == pytest.approx(expected, rel=1e-5)
    for fields in ({"word_sharpness": 2.0}, {"score_scale": 3.0}):
        terms = terms_of(make_task(**fields), batch, model)
        assert float(terms.loss.sum) != pytest.approx(float(whole.loss.sum), rel=1e-4)
    chunked = terms_of(make_task(images_per_chunk=3), batch, model)
    assert float(chunked.loss.sum) == pytest.approx(float(whole.loss.sum), rel=1e-6)


@pytest.mark.parametrize("mask", ["example_mask", "video_mask", "phrases_mask"])
def test_rows_without_a_picture_or_words_count_nothing(mask):
    batch, task = make_batch(), make_task()
    model = task.build_model()
    batch[mask] = batch[mask].copy()
    batch[mask][1] = 0.0
    changed = {name: value.copy() for name, value in batch.items()}
    changed["video"][1] *= -1.0
    changed["phrase_layers"][1] *= 2.0
    one, other = (terms_of(task, each, model) for each in (batch, changed))
    assert float(one.loss.sum) == pytest.approx(float(other.loss.sum), rel=1e-6)
    assert float(one.loss.weight) == BATCH - 1


def test_a_frozen_backbone_gets_no_gradient():
    task = make_task(visual={"trainable": False})
    model = task.build_model()
    assert not any(weight.path.startswith("visual/") for weight in model.trainable_variables)
    batch = {name: tf.constant(value) for name, value in make_batch().items()}
    with tf.GradientTape() as tape:
        loss = terms_of(task, batch, model).loss.sum
    frozen = [weight.value for weight in model.visual.weights]
    assert all(gradient is None for gradient in tape.gradient(loss, frozen))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"word_weight": 0.0, "sentence_weight": 0.0}, "are both 0"),
        ({"word_weight": -1.0}, "task.word_weight is -1.0"),
        ({"word_sharpness": 0.0}, "task.word_sharpness is 0.0"),
        ({"score_scale": 0.0}, "task.score_scale is 0.0"),
        ({"images_per_chunk": -1}, "task.images_per_chunk is -1"),
        ({"inputs": {"video": None}}, "input.video is null"),
        ({"inputs": {"phrases": None}}, "input.phrases is null"),
        ({"inputs": {"text": TextInputConfig()}}, "input.text is read"),
        ({"phrases": {"each": True}}, "input.phrases.each is true"),
        ({"phrases": {"width": 9}}, "input.phrases.width is 9 and task.model.word_width 8"),
        (
            {"inputs": {"video": VideoInputConfig(num_frames=1, height=SIZE, width=48)}},
            f"input.video is {SIZE} x 48 pixels and task.model.visual {SIZE} x {SIZE}",
        ),
        ({"model": {"text": "x"}}, "text is 'x'"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(UserError) as raised:
        make_task(**fields)
    assert message in str(raised.value)


def test_an_objective_is_refused():
    task = make_task()
    stream = dataclasses.replace(task.streams["pictures"], objective="x")
    with pytest.raises(UserError, match="objective is 'x'"):
        type(task)(task.config, {"pictures": stream})


def test_weights_are_placed_over_devices():
    for variant in ({}, {"text": "recurrent"}):
        for weight in make_task(model=variant).build_model().weights:
            assert rule_of(weight.path).kind == "whole"
