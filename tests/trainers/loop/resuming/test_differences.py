"""What each setting does to a run that resumes, for every system there is."""

import copy
import dataclasses
import typing

import pytest

from mm_models.config_tools import ResumeRules
from mm_models.errors import UserError
from tests.trainers import toy_task
from trainers import registry
from trainers.config.schema import ExperimentConfig, StreamConfig, TrainerConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.loop.identity import check_identity, flatten, identity_of
from trainers.loop.resuming.differences import (
    ALLOWED,
    NOTED,
    REFUSED,
    SWITCHED,
    Difference,
    on_resume,
    rule_of,
)
from trainers.optimization.config import OptimizerConfig, ParameterGroupConfig


def _classes(kind, found):
    """A config class and those in it, by name of each."""
    if dataclasses.is_dataclass(kind) and kind not in found:
        found.add(kind)
        for hint in typing.get_type_hints(kind).values():
            for inner in (hint, *typing.get_args(hint)):
                _classes(inner, found)
    return found


def _all_classes():
    found = _classes(ExperimentConfig, set())
    for system in registry.systems().values():
        _classes(registry.resolve(system.task_config), found)
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


@pytest.mark.parametrize("kind", _all_classes(), ids=lambda kind: kind.__qualname__)
def test_rules_are_about_fields_that_there_are_and_say_one_thing_of_each(kind):
    rules = getattr(kind, "resume", ResumeRules())
    named = [*rules.noted, *rules.allowed, *rules.switched, *rules.unordered]
    assert set(named) <= {field.name for field in dataclasses.fields(kind)}
    assert len(named) == len(set(named))


def _stream():
    parts = {part: registry.resolve(kind)() for part, kind in registry.input_parts().items()}
    return StreamConfig(input=InputConfig(**parts))


@pytest.mark.parametrize("system", registry.systems())
def test_every_setting_of_every_system_has_a_rule(system):
    task = registry.resolve(registry.system(system).task_config)()
    optimizers = {"main": OptimizerConfig(groups={"low": ParameterGroupConfig()})}
    config = ExperimentConfig(
        task=task, streams={"main": _stream()}, trainer=TrainerConfig(optimizers=optimizers)
    )
    leaves = flatten(identity_of(config, lambda _: {"clips": "5 records"}))
    rules = {key: rule_of(key.split("."), type(config.task)) for key in leaves}
    assert set(rules.values()) <= {REFUSED, NOTED, ALLOWED, SWITCHED}
    # What says nothing of itself refuses, as most of what a system declares does.
    own = [rule for key, rule in rules.items() if key.startswith("task.")]
    assert own.count(REFUSED) > 0.8 * len(own)
    assert {key.split(".")[0] for key, rule in rules.items() if rule == REFUSED} >= {
        "task",
        "streams",
        "trainer",
    }


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("task.width", 16, 32, REFUSED),
        ("task.invented", 1, 2, REFUSED),
        ("trainer.seed", 0, 1, REFUSED),
        ("trainer.ema.decay", 0.9, 0.99, NOTED),
        ("trainer.ema.decay", 0.0, 0.99, REFUSED),
        ("trainer.optimizers.main.momentum", 0.9, 0.0, REFUSED),
        ("trainer.optimizers.main.momentum", 0.9, 0.8, NOTED),
        ("trainer.optimizers.main.schedule.warmup_steps", 0, 5, NOTED),
        ("trainer.optimizers.main.groups.low.pattern", "^a", "^b", REFUSED),
        ("trainer.optimizers.main.groups.low.learning_rate_multiplier", 1.0, 0.1, NOTED),
        ("trainer.checkpoint.keep", 3, 4, ALLOWED),
        ("streams.main.input.datasets.clips.path", "a", "b", ALLOWED),
        ("streams.main.input.datasets.clips.share", 0.5, 1.0, REFUSED),
        ("streams.main.input.video.height", 64, 32, REFUSED),
        ("streams.main.input.video.flip", True, False, NOTED),
        ("streams.main.input.contents.clips", "5 records", "6 records", REFUSED),
        ("evaluators.test.num_pictures", 4, 0, NOTED),
        ("runtime.num_threads", 0, 2, ALLOWED),
    ],
)
def test_each_setting_is_treated_by_what_it_does(path, old, new, expected):
    difference = Difference(tuple(path.split(".")), old, new)
    assert on_resume(difference, toy_task.ToyTaskConfig) == expected


def _identity(**datasets):
    stream = StreamConfig(input=InputConfig(datasets=datasets))
    config = ExperimentConfig(task=toy_task.ToyTaskConfig(), streams={"main": stream})
    return identity_of(config, lambda _: dict.fromkeys(datasets, "5 records"))


def _check(ours, saved):
    return check_identity(ours, saved, toy_task.ToyTaskConfig, "ckpt-1")


def test_every_setting_that_differs_is_listed():
    saved = _identity(a=DatasetConfig("x"), b=DatasetConfig("y"))
    assert _check(_identity(a=DatasetConfig("elsewhere"), b=DatasetConfig("y")), saved) == []
    ours = _identity(b=DatasetConfig("y", split="test"), c=DatasetConfig("z"))
    with pytest.raises(UserError) as error:
        _check(ours, saved)
    for text in (
        ".datasets.a {'path': 'x', ",
        ".datasets.c nothing → {'path': 'z'",
        "'train' → 'test'",
    ):
        assert text in str(error.value)


def test_the_order_of_data_sets_is_a_setting_and_that_of_streams_is_not():
    first, second = DatasetConfig("x"), DatasetConfig("y")
    saved = _identity(a=first, b=second)
    with pytest.raises(UserError, match=r"datasets \['a', 'b'\] → \['b', 'a'\]"):
        _check(_identity(b=second, a=first), saved)
    turned = copy.deepcopy(saved)
    for tree in (saved, turned):
        tree["streams"]["other"] = tree["streams"]["main"]
    turned["streams"] = dict(reversed(turned["streams"].items()))
    assert _check(turned, saved) == []


def test_a_setting_that_only_one_side_knows_is_another_experiment():
    saved = _identity()
    ours = copy.deepcopy(saved)
    ours["task"]["young"], ours["trainer"]["checkpoint"]["young"] = "some", 1
    with pytest.raises(UserError, match=r"task\.young nothing → 'some'"):
        _check(ours, saved)
    with pytest.raises(UserError, match=r"task\.young 'some' → nothing"):
        _check(saved, ours)


def test_a_part_of_another_package_refuses_until_it_says_otherwise():
    kinds = typing.get_type_hints(InputConfig)
    for part in registry.input_parts():
        path = ("streams", "main", "input", part, "invented")
        assert part in kinds and rule_of(path, toy_task.ToyTaskConfig) == REFUSED
