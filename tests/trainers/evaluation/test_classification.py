import json
import types

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.evaluation.planted import NAMES, PlantedData, as_video, inputs
from tests.trainers.tasks.batches import make_task
from trainers.data.config import InputConfig
from trainers.evaluation.classes.classification import (
    ClassificationConfig,
    ClassificationEvaluator,
)
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.pictures import class_panels
from trainers.tasks.classifier import Classifier

CONTEXT = EvaluationContext(jit_compile=False)


class FirstValues:
    """A classifier whose logits are the first values of its input, averaged over views."""

    def __init__(self, modality="video"):
        self.modality = modality

    def __call__(self, inputs):
        assert set(inputs) == {self.modality}
        value = inputs[self.modality]
        rank = 5 if self.modality == "video" else 2
        views = tf.reshape(value, [value.shape[0], -1, np.prod(value.shape[1 - rank :])])
        return tf.reduce_mean(views[:, :, :10], axis=1)


def classifier(names, modality="video", multi_label=False):
    return Classifier(names, modality, multi_label, lambda model, inputs: model(inputs))


def evaluator(modality="video", multi_label=False, input_config=None, **fields):
    one = classifier(NAMES, modality, multi_label)
    task = types.SimpleNamespace(classifiers=lambda: {"": one})
    config = ClassificationConfig(
        "classification", input=input_config or inputs(text=None), **fields
    )
    return ClassificationEvaluator("test", config, task)


def planted(logits, labels, modality="video", **columns):
    logits = np.asarray(logits, np.float32)
    padded = np.concatenate([logits, np.zeros((*logits.shape[:-1], 14))], axis=-1)
    value = as_video(padded) if modality == "video" else padded.astype(np.float32)
    return PlantedData(**{modality: value}, label=np.asarray(labels, np.int32), **columns)


def test_top1_and_top5_over_real_rows_that_have_the_modality(plant):
    logits = np.tile(np.arange(10.0), (6, 1))
    labels = [[9], [9], [5], [4], [0], [9]]
    mask = np.array([1, 1, 1, 1, 1, 0], np.float32)
    plant(planted(logits, labels, video_mask=mask))
    scores = evaluator().evaluate(FirstValues(), CONTEXT)
    assert scores == {"num_examples": 5.0, "top1": 0.4, "top5": 0.6}
    assert evaluator().chance() == {"top1": 0.1, "top5": 0.5}


def test_views_are_averaged_as_logits(plant):
    views = np.zeros((1, 12, 10))
    views[0, :11, 3], views[0, 11, 7] = 1.0, 20.0
    plant(planted(views, [[7]]))
    assert evaluator().evaluate(FirstValues(), CONTEXT)["top1"] == 1.0
    plant(planted(views, [[3]]))
    assert evaluator().evaluate(FirstValues(), CONTEXT)["top1"] == 0.0


def test_a_task_with_several_labels_adds_their_scores(plant):
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(20) % 10, (np.arange(20) + 3) % 10], axis=1)
    truth = np.zeros((20, 10))
    truth[np.arange(20)[:, None], labels] = 1
    plant(planted(truth + 0.1 * rng.uniform(size=truth.shape), labels, "audio"))
    under_test = evaluator("audio", multi_label=True)
    scores = under_test.evaluate(FirstValues("audio"), CONTEXT)
    assert (scores["map"], scores["auc"]) == (1.0, 1.0)
    assert under_test.chance()["auc"] == 0.5
    # Also where every clip of the test happens to have one label.
    plant(planted(truth, labels[:, :1], "audio"))
    assert scores.keys() == under_test.evaluate(FirstValues("audio"), CONTEXT).keys()


def test_the_table_by_class():
    scores = np.eye(3)[[0, 0, 1, 0]] + 0.1
    labels = np.array([[0, -1], [0, -1], [1, -1], [1, 2]])
    table = class_panels.class_table(scores, labels, ["a", "b", "c"])
    columns = {key: [row[key] for row in table] for key in table[0]}
    assert columns["class"] == ["a", "b", "c"]
    assert columns["examples"] == [2, 2, 1]
    assert columns["recall"] == [1.0, 1.0, None]
    assert columns["precision"] == [1.0, 1.0, None]
    # Class c scores all alike: its one positive enters together with three others.
    assert columns["average_precision"] == pytest.approx([2 / 3, 1 / 2 + 1 / 4, 1 / 4])
    assert columns["auc"] == pytest.approx([0.75, 0.75, 0.5])
    assert columns["d_prime"][2] == pytest.approx(0.0)
    perfect = class_panels.class_table(np.eye(2), np.array([[0], [1]]), ["a", "b"])
    assert perfect[0]["d_prime"] is None and perfect[0]["auc"] == 1.0


def _tags(folder):
    return {
        value.tag
        for path in folder.glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


@pytest.mark.parametrize(("modality", "picture"), [("video", "clips"), ("audio", "spectrograms")])
def test_pictures_and_files(plant, tmp_path, modality, picture):
    plant(planted(np.eye(10)[:6], np.arange(6)[:, None], modality))
    writer = tf.summary.create_file_writer(str(tmp_path / "events"))
    context = EvaluationContext(
        step=3, model_dir=str(tmp_path), summary_writer=writer, jit_compile=False
    )
    evaluator(modality, num_pictures=2).evaluate(FirstValues(modality), context)
    assert _tags(tmp_path / "events") == {"test/confusion", f"test/{picture}", "test/classes"}
    written = json.loads((tmp_path / "eval" / "test-classes.json").read_text())
    assert written["step"] == 3
    assert [row["examples"] for row in written["classes"]] == [1] * 6 + [0] * 4


def test_words_beside_pictures():
    names = ["a", "b", "c"]
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    said = class_panels.described(logits, np.array([[1, -1], [0, 2]]), classifier(names))
    assert said == [
        ("true b", ["predicted a 0.70, b 0.20"]),
        ("true a, c", ["predicted c 0.60, b 0.30"]),
    ]
    several = classifier(names, multi_label=True)
    assert class_panels.described(np.zeros((1, 3)), np.array([[-1, -1]]), several) == [
        ("true unknown", ["predicted a 0.50, b 0.50"])
    ]


def test_user_mistakes_are_named(tmp_path, plant):
    plant(planted(np.eye(10)[:2], [[3], [10]]))
    with pytest.raises(UserError, match="an example of class 10"):
        evaluator().evaluate(FirstValues(), CONTEXT)
    with pytest.raises(UserError, match="task 'vatt' does not classify"):
        ClassificationEvaluator("test", ClassificationConfig("classification"), make_task())
    with pytest.raises(UserError, match="input.labels is null"):
        evaluator(input_config=InputConfig())
    with pytest.raises(UserError, match=r"input.audio is null"):
        evaluator("audio", input_config=inputs(audio=None))
    other = inputs()
    other.datasets["planted"].path = str(tmp_path)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"labels": NAMES[::-1]}))
    with pytest.raises(UserError, match="lists other labels"):
        evaluator(input_config=other)
