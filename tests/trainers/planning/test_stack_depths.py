"""Deep models that follow from shallow ones are the deep models, for every kind of stack."""

import contextlib
import dataclasses

import numpy as np
import pytest

from tests.trainers.smallest_experiments import place_with_records
from trainers import runs
from trainers.config.loading import load_config
from trainers.planning.estimate import count_steps
from trainers.planning.weights import all_weights, shallow_depths

DEPTHS = {
    "vatt/digits_debug": ["video.num_layers=3", "audio.num_layers=2", "text.num_layers=3"],
    "vatt/pretrain_agnostic_medium": ["shared.num_layers=4", "shared.size=debug"],
    "vatt/digits_finetune_debug": ["video.num_layers=4"],
    "imp/digits_debug": ["num_layers=4", "num_experts=0"],
    "pali/digits_vit_debug": ["depth=3"],
}
LARGEST = "imp/digits_debug"


@pytest.fixture(autouse=True, scope="module")
def records(tmp_path_factory):
    """Records of the smallest experiments, which name classes."""
    folder = place_with_records(tmp_path_factory.mktemp("records"))
    with contextlib.chdir(folder):
        yield


def _load(name):
    return load_config([f"configs/{name}.yaml"], [f"task.model.{one}" for one in DEPTHS[name]])


class _Whole:
    """A task whose stacks are counted as they are."""

    def __init__(self, task):
        self._task = task

    def stack_depths(self):
        return {}

    def __getattr__(self, name):
        return getattr(self._task, name)


@pytest.mark.parametrize("name", DEPTHS)
def test_weights_are_those_of_the_model(name):
    config = _load(name)
    task = runs.build_task(config)
    config = dataclasses.replace(config, task=task.config)  # with the classes that records name
    assert len(shallow_depths(task)) > 1
    model = runs.build_model(task, config)
    planned = {one.path: (one.shape, one.optimizer) for one in all_weights(config, task)}
    owners = {v.path: group for group, vs in task.variable_groups(model).items() for v in vs}
    assert planned == {
        weight.path: (tuple(weight.shape), owners.get(weight.path, "")) for weight in model.weights
    }


@pytest.mark.parametrize(
    "name",
    # Counting the whole of it takes half a minute.
    [pytest.param(name, marks=pytest.mark.slow) if name == LARGEST else name for name in DEPTHS],
)
def test_operations_are_those_of_the_model(name, monkeypatch):
    config = _load(name)
    shallow = count_steps(config)
    build = runs.build_task
    monkeypatch.setattr("trainers.runs.build_task", lambda one: _Whole(build(one)))
    whole = count_steps(config)
    for stream in config.streams:
        examples = dict.fromkeys(config.streams, 2)
        mine, theirs = shallow.at(examples, 1)[stream], whole.at(examples, 1)[stream]
        np.testing.assert_allclose(mine.flops, theirs.flops, rtol=1e-6)
        np.testing.assert_allclose(mine.memory_bytes, theirs.memory_bytes, rtol=1e-6)
