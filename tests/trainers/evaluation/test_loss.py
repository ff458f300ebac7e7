import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.evaluation.planted import PlantedData
from tests.trainers.tasks.batches import input_config, make_batch, make_task
from trainers.evaluation.build import build_evaluators
from trainers.evaluation.config import EvaluatorConfig, ExamplesConfig
from trainers.evaluation.context import EvaluationContext


def test_loss_evaluator_weighs_batches_by_their_real_examples(plant):
    task = make_task(("video", "audio"))
    model = task.build_model()
    columns = make_batch(6, ("video", "audio"))
    plant(PlantedData(video=columns["video"], audio=columns["audio"]))
    inputs = input_config(("video", "audio"))
    inputs.batch_size = 4
    config = ExamplesConfig("loss", input=inputs)
    under_test = build_evaluators({"loss": config}, task)["loss"]
    scores = under_test.evaluate(model, EvaluationContext(jit_compile=False))

    def loss(rows):
        batch = {name: tf.constant(value[rows]) for name, value in columns.items()}
        options = {"stream": "clips", "training": False}
        outputs = task.encode(model, batch, seed=tf.zeros(2, tf.int32), **options)
        terms = task.terms(model, outputs, batch, gather=tf.identity, **options)
        return float(terms.loss.sum / terms.loss.weight)

    expected = (4 * loss(slice(0, 4)) + 2 * loss(slice(4, 6))) / 6
    assert scores["loss"] == pytest.approx(expected, rel=1e-4)
    assert scores["vidaud_loss"] == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(list(scores.values())).all()


def test_unknown_kinds_are_named():
    with pytest.raises(UserError, match="evaluators.mine.kind is 'best'"):
        build_evaluators({"mine": EvaluatorConfig("best")}, make_task())
