"""An evaluator's fields are those of its kind: loaded, refused and written back by the table."""

import dataclasses
import re

import pytest

from mm_models.errors import UserError
from mm_models.imp.model import ImpModel
from tests.trainers import toy_task
from trainers import registry
from trainers.config.loading import load_config, to_yaml
from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.places.retrieval import RetrievalConfig, RetrievalEvaluator
from trainers.evaluation.writing.generation import GenerationEvaluator

EXPERIMENT = "task: {name: %s}\nstreams: {main: {}}\nevaluators: {one: {kind: %s}}\n"


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setattr(registry, "SYSTEMS", dict(registry.SYSTEMS))
    toy_task.register()


def kinds():
    """Every system's every kind; those of all systems once."""
    own = [(name, kind) for name, one in registry.SYSTEMS.items() for kind in one.evaluators]
    return [*(("toy", kind) for kind in registry.EVALUATORS), *own]


def fields(system, kind):
    config_class = registry.evaluator_class(kind, system).config_class
    return {field.name for field in dataclasses.fields(config_class)}


@pytest.fixture
def load(tmp_path):
    def load_kind(system, kind, *overrides):
        path = tmp_path / "experiment.yaml"
        path.write_text(EXPERIMENT % (system, kind))
        return load_config([str(path)], list(overrides), check=False)

    return load_kind


@pytest.mark.parametrize(("system", "kind"), kinds(), ids=lambda value: value)
def test_a_kind_takes_its_own_fields_and_refuses_those_that_only_others_have(load, system, kind):
    config = load(system, kind).evaluators["one"]
    assert type(config) is registry.evaluator_class(kind, system).config_class
    others = set().union(*(fields(*other) for other in kinds())) - fields(system, kind)
    assert "pairs" in others or "prompts" in others
    for field in others:
        with pytest.raises(UserError) as error:
            load(system, kind, f"evaluators.one.{field}=1")
        expected = f"--set evaluators.one.{field}=1: no field of the kind {kind}: evaluators.one."
        known = f"({'|'.join(fields(system, kind))})"
        assert re.match(
            re.escape(f"{expected}{field}; ")
            + rf"(did you mean evaluators\.one\.{known}|known there: {known})",
            str(error.value),
        )


@pytest.mark.parametrize(("system", "kind"), kinds(), ids=lambda value: value)
def test_the_resolved_yaml_of_every_kind_is_equal(load, tmp_path, system, kind):
    config = load(system, kind, "evaluators.one.every_steps=3")
    path = tmp_path / "resolved.yaml"
    path.write_text(to_yaml(config))
    again = load_config([str(path)], check=False)
    assert again.evaluators == config.evaluators and again.evaluators["one"].every_steps == 3
    assert to_yaml(again) == to_yaml(config)


def test_the_last_kind_counts_and_fields_given_before_must_be_its_own(load):
    config = load("toy", "zero_shot", "evaluators.one.kind=retrieval", "evaluators.one.pairs=[a]")
    assert config.evaluators["one"] == RetrievalConfig("retrieval", pairs=["a"])
    with pytest.raises(UserError, match="one.prompts=.*: no field of the kind retrieval: .*prompt"):
        load("toy", "zero_shot", "evaluators.one.prompts=[a]", "evaluators.one.kind=retrieval")


def test_what_is_left_out_may_come_back_with_the_defaults_of_its_kind(load):
    changes = ("evaluators.one.max_examples=5", "evaluators.one=null", "evaluators.one.kind=loss")
    assert not load("toy", "loss", *changes[:2]).evaluators
    assert load("toy", "loss", *changes).evaluators["one"].max_examples == 0
    with pytest.raises(UserError, match=r"two is null.*only \['one'\]"):
        load("toy", "loss", "evaluators.two=null")


def test_a_system_brings_kinds_that_no_other_has(load):
    assert type(load("toy", "toy_distance").evaluators["one"]) is EvaluatorConfig
    for system, kind, near in (
        ("vatt", "toy_distance", "label_scoring"),
        ("vatt", "zeroshot", "zero_shot"),
        ("toy", "toy_distanse", "toy_distance"),
        ("imp", "conflict", "stream_conflict"),
    ):
        with pytest.raises(UserError) as error:
            load(system, kind)
        assert f"experiment.yaml: evaluators.one.kind is {kind!r}" in str(error.value)
        assert f"of the system {system};" in str(error.value) and near in str(error.value)


def test_numbers_below_zero_are_refused_by_every_evaluator():
    for field in ("every_steps", "max_examples", "gallery_size"):
        config = RetrievalConfig("retrieval", **{field: -1})
        with pytest.raises(UserError, match=f"evaluators.mine.{field} is -1"):
            RetrievalEvaluator("mine", config, None)


class EmbedsInOneWay:
    modalities = ("video",)

    def embed(self, inputs):
        return inputs

    def spaces(self, first, second):
        return first, second


def retrieval(patch):
    config = RetrievalConfig("retrieval", patch=patch, pairs=["audio_to_video"])
    config.input.video = config.input.audio = object()
    return RetrievalEvaluator("found", config, None)


def test_what_is_asked_of_the_model_is_told_before_it_runs():
    model = ImpModel({"size": "debug", "num_layers": 1, "modalities": ["video"]})
    retrieval("").check_model(model)
    retrieval("default").check_model(model)
    retrieval("").check_model(EmbedsInOneWay())
    for known, remedy in ((model, "must be one of default"), (EmbedsInOneWay(), "leave it empty")):
        with pytest.raises(UserError, match=f"evaluators.found.patch is 'coarse'.*{remedy}"):
            retrieval("coarse").check_model(known)
    writes = GenerationEvaluator.__new__(GenerationEvaluator)
    writes.name, writes.config = "texts", EvaluatorConfig("generation")
    with pytest.raises(UserError, match="needs a model of the ability Writes"):
        writes.check_model(model)
