"""Starts TensorFlow with four logical CPU devices for this room's tests."""

import fnmatch

import pytest

import tests.tensorflow_setup  # noqa: F401
from trainers.data import pipeline


@pytest.fixture(autouse=True, scope="session")
def declared_metrics():
    """Every evaluator of these tests reports what it declares, or the evaluation fails."""
    from trainers.evaluation.base import Evaluator

    plain = Evaluator.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        evaluate = self.evaluate

        def checked(model, context):
            scores, known = evaluate(model, context), self.metric_names()
            undeclared = [
                name
                for name in (scores if known is not None else ())
                if not any(fnmatch.fnmatchcase(name, one) for one in known)
            ]
            assert not undeclared, (type(self), undeclared)
            return scores

        self.evaluate = checked

    Evaluator.__init__ = init
    yield
    Evaluator.__init__ = plain


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
