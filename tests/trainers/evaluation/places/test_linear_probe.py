import numpy as np
import pytest

from mm_models.errors import UserError
from tests.trainers.evaluation.planted import (
    NAMES,
    InputsAreEmbeddings,
    PlantedData,
    as_video,
    captions_of,
    inputs,
    unit_vectors,
)
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.places.linear_probe import LinearProbeConfig, LinearProbeEvaluator

CONTEXT = EvaluationContext(jit_compile=False)


def evaluator(**fields):
    defaults = {"class_names": NAMES, "train_input": inputs(), "modality": "video"}
    config = LinearProbeConfig("linear_probe", input=inputs(), **(defaults | fields))
    return LinearProbeEvaluator("probe", config, None)


def clusters(count=300, shuffled=False):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, (count, 1)).astype(np.int32)
    vectors = unit_vectors(10)[truth[:, 0]] + 0.05 * rng.normal(size=(count, 24))
    return vectors, rng.permutation(truth) if shuffled else truth


@pytest.mark.parametrize(
    ("probe", "fields"),
    [
        ("logistic_regression", {}),
        ("low_rank", {"probe_steps": 600, "probe_l2": 0.001, "probe_dropout": 0.5}),
    ],
)
def test_clusters_are_separated_and_noise_is_not(plant, probe, fields):
    vectors, truth = clusters()
    plant(PlantedData(video=as_video(vectors), label=truth))
    scores = evaluator(probe=probe, **fields).evaluate(InputsAreEmbeddings(), CONTEXT)
    assert scores["top1"] > 0.95
    again = evaluator(probe=probe, **fields).evaluate(InputsAreEmbeddings(), CONTEXT)
    assert scores == again


def test_test_labels_are_not_learned_from(plant, monkeypatch):
    """Labels that say nothing about the clips leave the score on other clips at chance."""
    vectors, truth = clusters(600, shuffled=True)
    parts = {"train": slice(None, 300), "test": slice(300, None)}
    tables = {
        split: PlantedData(video=as_video(vectors[part]), label=truth[part])
        for split, part in parts.items()
    }

    class BySplit:
        def build_eval_dataset(self, config, *, input_context=None):
            split = next(iter(config.datasets.values())).split
            return tables[split].build_eval_dataset(config)

    plant(BySplit())
    train = inputs()
    train.datasets["planted"].split = "train"
    scores = evaluator(train_input=train).evaluate(InputsAreEmbeddings(), CONTEXT)
    assert scores["top1"] < 0.2


def test_captions_are_probed_by_the_first_one(plant):
    truth = np.arange(40, dtype=np.int32)[:, None] % 10
    text = captions_of(truth[:, 0], candidates=3)
    text[:, 1] = text[::-1, 0]
    plant(PlantedData(text=text, label=truth))

    class WithText(InputsAreEmbeddings):
        def embed(self, inputs):
            outputs = super().embed(inputs)
            return outputs | {"text": outputs["text_vt"]}

    model = WithText(unit_vectors(10))
    assert evaluator(modality="text").evaluate(model, CONTEXT)["top1"] == 1.0


def test_user_mistakes_are_named():
    with pytest.raises(UserError, match="probe"):
        evaluator(probe="svm")
    with pytest.raises(UserError, match="train_input"):
        evaluator(train_input=None)
    with pytest.raises(UserError, match="input.labels is null"):
        unlabelled = inputs()
        unlabelled.labels = None
        evaluator(train_input=unlabelled)
