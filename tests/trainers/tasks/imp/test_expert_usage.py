"""How experts are used: hand-computed numbers from planted routings."""

import json
import types
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.evaluation.planted import PlantedData, as_video, captions_of, inputs
from tests.trainers.evaluation.test_panels import found, picture_of, written
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.pictures import matrices
from trainers.tasks.imp.evaluators.expert_usage import (
    ExpertUsageConfig,
    ExpertUsageEvaluator,
    layer_usage,
)

CONTEXT = EvaluationContext(jit_compile=False)


class Routing(NamedTuple):
    z_loss: tf.Tensor
    num_tokens: tf.Tensor
    gate_sum: tf.Tensor
    num_dispatched: tf.Tensor
    left_behind: tf.Tensor
    probability: tf.Tensor
    load: tf.Tensor


def routing(rows, load):
    """A layer where every row has 4 tokens, of which one is left behind."""
    load = rows * tf.constant(load, tf.float32)
    return Routing(
        z_loss=rows,
        num_tokens=4.0 * rows,
        gate_sum=0.5 * tf.reduce_sum(load),
        num_dispatched=tf.reduce_sum(load),
        left_behind=rows,
        probability=4.0 * rows * tf.constant([0.1, 0.2, 0.7]),
        load=load,
    )


class PlantedExperts:
    """Two expert layers; captions go to the first expert of the first layer only."""

    def __init__(self):
        self.modalities = ["video", "audio", "text"]

    def encode(self, inputs, *, patch):
        assert patch == "default"
        routings = {}
        for modality, values in inputs.items():
            rows = tf.cast(tf.shape(values)[0], tf.float32)
            first = [3.0, 0.0, 0.0] if modality == "text" else [1.0, 1.0, 1.0]
            layers = (routing(rows, first), routing(rows, [1.5, 1.5, 0.0]))
            routings[modality] = layers
        return types.SimpleNamespace(pooled={}, routings=routings)


def planted(count=6):
    mask = np.array([1, 0, 1, 1, 1, 1], np.float32)
    vectors = np.zeros((count, 24), np.float32)
    return PlantedData(
        video=as_video(vectors), audio=vectors, text=captions_of([0] * count), audio_mask=mask
    )


def evaluator(**fields):
    return ExpertUsageEvaluator("experts", ExpertUsageConfig("expert_usage", **fields), None)


def test_numbers_by_layer_and_modality(plant, tmp_path):
    plant(planted())
    writer = tf.summary.create_file_writer(str(tmp_path / "events"))
    context = EvaluationContext(
        step=3, model_dir=str(tmp_path), summary_writer=writer, jit_compile=False
    )
    stills = inputs(audio=None, text=None)
    scores = evaluator(input=inputs(), more_inputs={"stills": stills}).evaluate(
        PlantedExperts(), context
    )
    writer.close()
    rows = ["video", "audio", "text", "stills_video"]
    assert len(scores) == len(rows) * 2 * 3
    for row in rows:
        assert scores[f"{row}_layer0_left_behind"] == pytest.approx(0.25)
        assert scores[f"{row}_layer1_confidence"] == pytest.approx(0.5)
        assert scores[f"{row}_layer0_entropy"] == pytest.approx(float(row != "text"))
        assert scores[f"{row}_layer1_entropy"] == pytest.approx(np.log(2) / np.log(3))
    table = json.loads((tmp_path / "eval" / "experts-experts.json").read_text())
    assert table["step"] == 3 and list(table["inputs"]) == rows
    np.testing.assert_allclose(table["inputs"]["audio"][0]["probability"], [0.1, 0.2, 0.7])
    pictures = written(tmp_path / "events")
    assert set(pictures) == {
        f"experts/layer{n}/{field}" for n in (0, 1) for field in ("probability", "share")
    }
    share = picture_of(pictures["experts/layer0/share"])
    values = np.array([[1 / 3] * 3, [1 / 3] * 3, [1, 0, 0], [1 / 3] * 3])
    size = matrices.cell_pixels(values.shape)
    assert found(share, matrices.matrix_cells(values, size, low=0.0, high=1.0))


def test_padding_and_rows_without_a_modality_do_not_count(plant):
    plant(planted())
    under_test = evaluator(input=inputs())
    sums = under_test._sums  # Scores are ratios; the sums tell how many rows were seen.
    under_test.evaluate(PlantedExperts(), CONTEXT)
    found = sums(PlantedExperts(), inputs(), CONTEXT)
    assert {m: float(layers[0]["num_tokens"]) for m, layers in found.items()} == {
        "video": 24.0,
        "audio": 20.0,
        "text": 24.0,
    }
    limited = evaluator(input=inputs(), max_examples=4)
    limited.evaluate(PlantedExperts(), CONTEXT)
    assert (
        float(limited._sums(PlantedExperts(), inputs(), CONTEXT)["video"][0]["num_tokens"]) == 16.0
    )


def test_no_tokens_give_no_nan():
    zeros = {name: np.zeros(2) for name in ("probability", "load")}
    zeros |= dict.fromkeys(("num_tokens", "gate_sum", "num_dispatched", "left_behind"), 0.0)
    usage = layer_usage(zeros)
    assert (usage.entropy, usage.left_behind, usage.confidence) == (0.0, 0.0, 0.0)
