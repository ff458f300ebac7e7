"""Cosines between the gradients of streams, against hand-computed ones."""

import types

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers import toy_task
from trainers.data import pipeline
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.stream_conflict import (
    StreamConflictConfig,
    StreamConflictEvaluator,
    cosine,
)


def _stream(weight=1.0, **fields):
    return types.SimpleNamespace(weight=weight, input=types.SimpleNamespace(**fields))


class OpposedTask(toy_task.ToyTask):
    """`towards` and `away` move `right` opposite ways; `left` trains the other tower alone."""

    def encode(self, model, batch, *, stream, training, seed):
        assert not training
        return (model.left if stream == "left" else model.right)(batch["x"])

    def terms(self, model, outputs, batch, *, stream, training, gather):
        sign = -1.0 if stream == "away" else 1.0
        total = sign * tf.reduce_sum(tf.square(outputs) if stream == "mixed" else outputs)
        return toy_task.StepTerms(toy_task.Term(total, tf.constant(16.0)), {})


@pytest.fixture
def batches(monkeypatch):
    def build(input_config, *, seed):
        steps = [toy_task.host_batch(16, seed=seed, step=step) for step in range(5)]
        return tf.data.Dataset.from_tensor_slices({"x": np.stack([step["x"] for step in steps])})

    monkeypatch.setattr(pipeline, "build_train_dataset", build)


def _task(kind, streams):
    return kind(toy_task.ToyTaskConfig(), streams)


def test_opposed_streams_have_cosine_minus_one(batches, tmp_path):
    streams = {name: _stream() for name in ("towards", "away", "mixed", "left")}
    task = _task(OpposedTask, {**streams, "unused": _stream(weight=0.0)})
    config = StreamConflictConfig("stream_conflict", num_batches=3)
    evaluator = StreamConflictEvaluator("conflict", config, task)
    model = task.build_model()
    writer = tf.summary.create_file_writer(str(tmp_path))
    context = EvaluationContext(seed=4, summary_writer=writer)
    scores = evaluator.evaluate(model, context)
    assert scores.pop("cosine/towards_vs_away") == pytest.approx(-1.0, abs=1e-6)
    # The mean over the three batches of d/dW sum(x W + b) and of d/dW sum((x W + b)^2).
    x = np.concatenate([toy_task.host_batch(16, seed=4, step=s)["x"] for s in range(3)]) / 3.0
    kernel = np.asarray(model.right.kernel.value, np.float64)
    plain = np.append(np.repeat(x.sum(0)[:, None], 8, axis=1).ravel(), np.full(8, 16.0))
    outputs = 3.0 * x @ kernel
    square = np.append((2 * x.T @ outputs).ravel(), 2 * outputs.sum(0) / 3.0)
    expected = plain @ square / np.linalg.norm(plain) / np.linalg.norm(square)
    assert scores.pop("cosine/towards_vs_mixed") == pytest.approx(expected, abs=1e-5)
    assert scores.pop("cosine/away_vs_mixed") == pytest.approx(-expected, abs=1e-5)
    # Nothing is shared with the other tower, and a stream of weight 0 is not trained.
    assert scores == {}
    assert evaluator.evaluate(model, context)["cosine/towards_vs_mixed"] == pytest.approx(
        expected, abs=1e-5
    )
    tags = [
        value.tag
        for path in tmp_path.glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    assert "conflict/cosine" in tags


def test_cosine_looks_at_shared_variables_only():
    first = {"a": np.array([[3.0, 0.0]]), "b": np.array([4.0]), "own": np.array([9.0])}
    second = {"a": np.array([[1.0, 1.0]]), "b": np.array([0.0]), "other": np.array([5.0])}
    assert cosine(first, second) == pytest.approx(3 / (5 * np.sqrt(2)))
    assert cosine({"a": np.zeros(2)}, {"a": np.ones(2)}) is None
    assert cosine({"a": np.ones(2)}, {"b": np.ones(2)}) is None


@pytest.mark.parametrize(
    ("streams", "num_batches", "expected"),
    [
        ({"one": _stream(), "off": _stream(0.0)}, 1, "only .'one'. is trained"),
        ({"one": _stream(), "two": _stream()}, 0, "num_batches is 0"),
    ],
)
def test_nothing_to_compare_is_refused(streams, num_batches, expected):
    config = StreamConflictConfig("stream_conflict", num_batches=num_batches)
    with pytest.raises(UserError, match=expected):
        StreamConflictEvaluator("conflict", config, _task(OpposedTask, streams))
