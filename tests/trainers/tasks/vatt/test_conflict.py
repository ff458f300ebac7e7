"""Conflict as a sign of planted noise: scores by hand, groups, agreement, and the truth it uses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.evaluation.planted import PlantedData
from tests.trainers.tasks.batches import input_config, make_batch, make_task, model_config
from trainers.data import examples
from trainers.data.config import DatasetConfig
from trainers.data.examples import ExampleInfo
from trainers.evaluation.context import EvaluationContext
from trainers.optimization.harmonization import rule as harmonization
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.tasks.vatt import harmonization as vatt_harmonization
from trainers.tasks.vatt.evaluators.conflict import (
    ConflictConfig,
    ConflictEvaluator,
    agreement,
    detection,
)
from trainers.tasks.vatt.evaluators.planted_noise import Planted, planted_noise, truth

CLIPS = 12
CONFIG = {"kind": "conflict", "group_sizes": [1, 2], "exact_examples": 4}
CHEAPEST = {"measures": ["feature"], "group_sizes": [1], "exact_examples": 0}


def test_detection_by_hand():
    cosines = np.array([-0.9, -0.5, -0.1, 0.2, 0.4, 0.8])
    planted = Planted(
        wrong_caption=np.array([1, 0, 0, 1, 0, 0], bool),
        wrong_audio=np.array([1, 1, 0, 0, 0, 0], bool),
    )
    scores = detection(cosines, planted, [-0.3, -1.0])
    # Wrong captions at -0.9 and 0.2 against four others: 4 and 2 pairs of 8 in the right order.
    assert scores["auc_wrong_caption"] == 6 / 8
    assert scores["auc_wrong_audio"] == 1.0
    assert scores["auc_either"] == pytest.approx(8 / 9)
    assert scores["mean"] == pytest.approx(-0.1 / 6)
    assert scores["negative_share"] == 0.5
    assert scores["dropped_share_at_-0.3"] == pytest.approx(2 / 6)
    assert scores["precision_at_-0.3"] == 1.0
    assert scores["dropped_share_at_-1"] == 0.0 and "precision_at_-1" not in scores
    clean = Planted(np.zeros(6, bool), np.zeros(6, bool))
    assert not [name for name in detection(cosines, clean, []) if name.startswith("auc")]


def test_agreement_by_hand():
    found = agreement(
        {
            "last_layer": np.array([1.0, 2.0, 3.0, 9.0]),
            "last_layer_of_2": np.zeros(4),
            "exact": np.array([-2.0, 2.0, 6.0]),
        }
    )
    assert found["exact/pearson_last_layer"] == pytest.approx(1.0)
    assert found["exact/same_sign_last_layer"] == pytest.approx(2 / 3)
    assert len(found) == 2
    assert agreement({"last_layer": np.ones(3)}) == {}


INFO = ExampleInfo(
    3,
    dataset="noisy",
    captions=("dos", "two", "a six"),
    languages=("es", "en", "en"),
    styles=("digit",) * 3,
    relations=("moment", "wrong", "moment"),
    label_texts=("six",),
    utterances=("four",),
    utterance_languages=("en",),
)


@pytest.mark.parametrize(
    ("changes", "candidates", "expected"),
    [
        ({}, 1, (True, True)),
        ({}, 2, (False, True)),
        ({"utterances": ("six",)}, 1, (True, False)),
        ({"utterances": ("vier",), "utterance_languages": ("de",)}, 1, (True, False)),
        ({"label_texts": ()}, 1, (True, False)),
        ({"relations": ("wrong", "moment", "wrong")}, 1, (False, True)),
        ({"captions": (), "relations": (), "languages": (), "styles": ()}, 1, (False, True)),
    ],
)
def test_noise_is_read_from_the_record(changes, candidates, expected):
    config = input_config(candidates=candidates)
    config.datasets = {"noisy": DatasetConfig(path="nowhere", caption_languages=["en"])}
    assert planted_noise(dataclasses.replace(INFO, **changes), config) == expected


def test_truth_in_words():
    config = input_config(candidates=1)
    config.datasets = {"noisy": DatasetConfig(path="nowhere", caption_languages=["en"])}
    assert truth(INFO, config) == ["shows six", "caption WRONG: two", "sound WRONG: four"]


@pytest.fixture(scope="module")
def trained():
    """An agnostic task with initial weights, moved off their start."""
    task = make_task(model=model_config("agnostic"))
    task.streams["clips"].input.datasets = {"clips": DatasetConfig(path="nowhere")}
    model = task.build_model()
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.05 * rng.normal(size=variable.shape))
    return task, model


@pytest.fixture
def planted(plant, monkeypatch):
    """Clips 0, 3, 6 and 9 have wrong captions; clip 5 has no sound."""
    columns = make_batch(CLIPS, candidates=1)
    columns["audio_mask"] = columns["audio_mask"].copy()
    columns["audio_mask"][5] = 0.0
    names = ("video", "audio", "text", "audio_mask")
    plant(PlantedData(**{name: columns[name] for name in names}))
    calls = []

    def describe(ids, config):
        calls.append(list(ids))
        relation = {True: ("wrong",), False: ("moment",)}
        return [ExampleInfo(i, captions=("x",), relations=relation[i % 3 == 0]) for i in ids]

    monkeypatch.setattr(examples, "describe", describe)
    return columns, calls


def make_evaluator(task, **changes):
    inputs = input_config(candidates=1)
    inputs.batch_size = 4
    config = ConflictConfig(input=inputs, **{**CONFIG, **changes})
    return ConflictEvaluator("conflict", config, task)


def reference(task, model, columns, rows, **options):
    """Cosines of one batch from the rule itself, outside any compiled function."""
    batch = {name: tf.constant(value[rows]) for name, value in columns.items()}
    config = HarmonizationConfig(method="monitor", **options)
    parts = vatt_harmonization.parts(model, ["clips"])
    rule = harmonization.HarmonizedGradients(
        task, model, [], stream="clips", mean=True, config=config, parts=parts
    )
    passed = rule.run(
        lambda b, s: rule.cut.open(b, s, training=False),
        batch,
        tf.zeros(2, tf.int32),
        lambda o, b: task.terms(model, o, b, stream="clips", training=False, gather=tf.identity),
        training=False,
    )
    conflict = harmonization.measure(passed, config, parts, batch)
    return conflict.cosine.numpy()


def test_scores_are_those_of_the_rule_without_clips_that_lack_a_modality(trained, planted):
    task, model = trained
    columns, calls = planted
    evaluator = make_evaluator(task, thresholds=[0.0])
    before = [np.array(value) for value in model.non_trainable_variables]
    scores = evaluator.evaluate(model, EvaluationContext(jit_compile=False))
    for value, old in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(value, old)
    batches = [slice(0, 4), slice(4, 8), slice(8, 12)]
    kept = np.flatnonzero(columns["audio_mask"])
    noise = Planted(kept % 3 == 0, np.zeros(len(kept), bool))
    options = {
        "last_layer": {},
        "feature": {"measure": "feature"},
        "last_layer_of_2": {"granularity": "microbatch", "microbatch_size": 2},
    }
    for name, option in options.items():
        cosines = [reference(task, model, columns, rows, **option) for rows in batches]
        expected = detection(np.concatenate(cosines)[kept], noise, [0.0])
        found = {key: scores[f"{name}/{key}"] for key in expected}
        assert found == pytest.approx(expected, abs=1e-5), name
    exact = reference(task, model, columns, batches[0], measure="exact")
    assert scores["exact/mean"] == pytest.approx(exact.mean(), abs=1e-5)
    cheap = reference(task, model, columns, batches[0])
    pearson = np.corrcoef(exact, cheap)[0, 1]
    assert scores["exact/pearson_last_layer"] == pytest.approx(pearson, abs=1e-4)
    assert scores["planted_share"] == pytest.approx(4 / 11)
    assert evaluator.chance()["feature_of_2/auc_either"] == 0.5
    # The truth is read once.
    assert evaluator.evaluate(model, EvaluationContext(jit_compile=False)) == pytest.approx(scores)
    assert calls == [kept.tolist()]


def test_pictures_show_both_ends_and_their_truth(trained, planted, tmp_path):
    task, model = trained
    writer = tf.summary.create_file_writer(str(tmp_path))
    evaluator = make_evaluator(task, **CHEAPEST, num_pictures=2)
    shown = []
    evaluator.write = lambda panels, context: shown.extend(panels)
    evaluator.evaluate(model, EvaluationContext(jit_compile=False, summary_writer=writer))
    assert [panel.tag for panel in shown] == [
        "cosine/feature",
        "most_conflicting",
        "least_conflicting",
    ]
    assert len(shown[0].values) == 11
    assert all(panel.image.shape[0] > 2 * 96 for panel in shown[1:])
    writer.close()


def test_max_examples_ends_after_the_batch_that_reaches_it(trained, planted):
    task, model = trained
    evaluator = make_evaluator(task, **CHEAPEST, max_examples=5)
    evaluator.evaluate(model, EvaluationContext(jit_compile=False))
    assert planted[1] == [[0, 1, 2, 3, 4, 6, 7]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ["exact"]}, "measures"),
        ({"measures": []}, "measures"),
        ({"group_sizes": [3]}, "does not divide"),
        ({"group_sizes": []}, "group_sizes is empty"),
    ],
)
def test_fields_that_cannot_work_are_refused(trained, changes, message):
    with pytest.raises(UserError, match=message):
        make_evaluator(trained[0], **changes)


def test_missing_modalities_are_refused(trained):
    config = ConflictConfig("conflict", input=input_config(("video", "audio")))
    with pytest.raises(UserError, match="text"):
        ConflictEvaluator("conflict", config, trained[0])
