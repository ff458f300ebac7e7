"""Starts TensorFlow with four logical CPU devices for this room's tests."""

import pytest

import tests.tensorflow_setup  # noqa: F401
from trainers.data import pipeline


@pytest.fixture
def plant(monkeypatch):
    """Makes `build_eval_dataset` return a PlantedData's rows, and clips describe themselves."""

    def use(data):
        monkeypatch.setattr(pipeline, "build_eval_dataset", data.build_eval_dataset)

    from trainers.data import examples

    monkeypatch.setattr(
        examples,
        "describe",
        lambda ids, config: [
            examples.ExampleInfo(i, captions=(f"caption of clip {i}",)) for i in ids
        ],
    )
    return use
