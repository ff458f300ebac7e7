"""Experiments: strict merging, presets, round trip, and refusal of what cannot work."""

import copy
import dataclasses
import functools
import operator
import pathlib

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from mm_models.errors import UserError
from tests.trainers import toy_task
from trainers import registry
from trainers.config.checks import check_batches, check_reachable
from trainers.config.loading import load_config, to_yaml
from trainers.config.schema import ExperimentConfig
from trainers.loop.identity import flatten
from trainers.runs import build_task

ROOT = pathlib.Path(__file__).parents[2]
BASE = """
name: toy
task: {name: toy}
streams:
  main: {input: {batch_size: 16}}
"""


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setattr(registry, "SYSTEMS", dict(registry.SYSTEMS))
    toy_task.register()


@pytest.fixture
def load(tmp_path):
    def load_text(
        text: str = BASE, overrides: list[str] | None = None, **kwargs
    ) -> ExperimentConfig:
        path = tmp_path / "experiment.yaml"
        path.write_text(text)
        return load_config([str(path)], overrides, **kwargs)

    return load_text


def test_defaults_files_and_overrides_merge_in_order(tmp_path, load):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(BASE + "trainer: {train_steps: 5, seed: 3}\n")
    second.write_text("trainer: {train_steps: 6}\n")
    config = load_config([str(first), str(second)], ["trainer.seed=4"])
    assert (config.trainer.train_steps, config.trainer.seed, config.trainer.steps_per_loop) == (
        6,
        4,
        10,
    )
    assert isinstance(config.task, toy_task.ToyTaskConfig)
    assert list(config.trainer.optimizers) == ["main"]


def test_a_named_part_that_is_null_is_left_out(load):
    text = BASE + "  other: {input: {batch_size: 8}}\nevaluators: {probe: {kind: linear_probe}}\n"
    config = load(text, ["streams.main=null", "evaluators.probe=null", "streams.third.weight=2"])
    assert list(config.streams) == ["other", "third"] and not config.evaluators
    assert list(load(text, ["streams.main=null", "streams.main.weight=2"]).streams) == [
        "other",
        "main",
    ]
    with pytest.raises(UserError, match=r"streams.mian is null.*there are only \['main', 'other'"):
        load(text, ["streams.mian=null"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trainer: {train_stps: 5}", "did you mean trainer.train_steps?"),
        ("streams: {main: {input: {video: {hight: 5}}}}", "streams.main.input.video.height?"),
        ("task: {widht: 5}", "did you mean task.width?"),
        ("trainer: {optimizers: {main: {groups: {a: {frozn: 1}}}}}", "groups.a.frozen?"),
        (
            "trainer: {train_steps: many}",
            "trainer.train_steps is 'many' (str); expected a whole number",
        ),
        ("trainer: {train_steps: 1.5}", "expected a whole number"),
        ("trainer: {seed: true}", "trainer.seed is True (bool); expected a whole number"),
        ("runtime: {jit_compile: 3}", "runtime.jit_compile is 3 (int); expected true or false"),
        ("streams: 3", "streams is 3 (int); expected a mapping by name"),
        ("streams: {main: {input: {video: 3}}}", "expected a VideoInputConfig mapping"),
        ("streams: {main: {input: {batch_size: null}}}", "expected a whole number"),
        (
            "evaluators: {zs: {kind: zero_shot, prompts: hello}}",
            "evaluators.zs.prompts is 'hello' (str); expected a list",
        ),
        ("evaluators: {zs: {kind: zero_shot, promts: x}}", "did you mean evaluators.zs.prompts?"),
        ("evaluators: {zs: {prompts: x}}", "evaluators.zs.kind is '', which is no kind"),
        ("evaluators: {zs: 3}", "evaluators.zs is 3 (int); expected"),
        ("task: {name: tooy}", "'tooy', which is no known system; did you mean toy"),
        ("trainer: {colour: blue}", "unknown key trainer.colour; known there: accumulation_steps"),
        (
            "trainer: {seed: '${trainer.no_such}'}",
            "trainer.seed has no value that fits: Interpolation key",
        ),
        ("trainer: {seed: '${trainer.seed}'}", "trainer.seed has no value that fits: Recursive"),
        ("trainer: {seed: '${oc.env:NO_SUCH_NAME}'}", "trainer.seed has no value that fits"),
        ("trainer: {seed: '${no_such:3}'}", "trainer.seed has no value that fits: Unsupported"),
        ("trainer: {seed: '${name}'}", "trainer.seed has no value that fits"),
        ("name: ???", "name is '???' (str); expected a value"),
        ("streams: '${trainer}'", "streams is '${trainer}'"),
        ("streams: {main: '${trainer}'}", "streams.main"),
        ("evaluators: '${streams}'", "evaluators is '${streams}'"),
        ("trainer: [", "is not valid YAML"),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_remedy(tmp_path, text, expected):
    base, wrong = tmp_path / "base.yaml", tmp_path / "wrong.yaml"
    base.write_text(BASE)
    wrong.write_text(text)
    with pytest.raises(UserError) as error:
        load_config([str(base), str(wrong)])
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    if "no known system" not in expected:
        assert str(wrong) in str(error.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.train_steps", "is no override"),
        ("trainer..seed=1", "is no override"),
        (
            "trainer.sed=1",
            "--set trainer.sed=1: unknown key trainer.sed; did you mean trainer.seed?",
        ),
        ("trainer.seed=abc", "trainer.seed is 'abc' (str); expected a whole number"),
    ],
)
def test_mistaken_overrides_are_named(load, override, expected):
    with pytest.raises(UserError) as error:
        load(overrides=[override])
    assert expected in str(error.value)


def test_missing_empty_and_nameless_files_are_refused(tmp_path, load):
    with pytest.raises(UserError, match="cannot read --config_file"):
        load_config([str(tmp_path / "none.yaml")])
    with pytest.raises(UserError, match="is empty or no mapping"):
        load("")
    with pytest.raises(UserError, match="has no task.name"):
        load("trainer: {seed: 1}\n")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.train_steps=0"], "trainer.train_steps is 0; it must be at least 1"),
        (["trainer.optimizers.main.kind=adan"], "trainer.optimizers.main.kind is 'adan'"),
        (["trainer.optimizers.main.schedule.kind=cosine"], "schedule.kind is 'cosine'"),
        (["trainer.optimizers.main.schedule.preset=papr"], "preset is 'papr'"),
        (["trainer.optimizers.main.momentum=0.9"], "momentum is 0.9, which adam does not use"),
        (["trainer.optimizers.main.schedule.final_learning_rate=0.1"], "mean nothing to constant"),
        (["trainer.optimizers.main.groups.a.pattern=("], "no regular expression"),
        (["trainer.optimizers.main.decay_pattern=kernel$"], "weight_decay is 0; set the decay"),
        (
            ["trainer.optimizers.main.schedule.prewarm_start_learning_rate=1"],
            "means nothing without trainer.optimizers.main.schedule.prewarm_steps",
        ),
        (
            ["trainer.optimizers.main.schedule.warmup_start_learning_rate=1"],
            "means nothing without trainer.optimizers.main.schedule.warmup_steps",
        ),
        (
            ["trainer.optimizers.main.schedule={warmup_steps: 3, total_steps: 3}"],
            "schedule.total_steps is 3, not above trainer.optimizers.main.schedule.warmup_steps",
        ),
        (
            ["trainer.optimizers.main.schedule.kind=steps"],
            "schedule.kind 'steps'; the kind steps needs milestones",
        ),
        (
            ["trainer.optimizers.main.schedule.milestones=[5]"],
            "schedule.milestones is [5] and trainer.optimizers.main.schedule.kind",
        ),
        (
            [
                "trainer.optimizers.main.schedule.kind=steps",
                "trainer.optimizers.main.schedule.final_learning_rate=0",
                "trainer.optimizers.main.schedule.total_steps=0",
                "trainer.optimizers.main.schedule.milestones=[9, 5]",
            ],
            "schedule.milestones is [9, 5]; give rising steps",
        ),
        (["trainer.optimizers.main.beta_1=1"], "trainer.optimizers.main.beta_1 is 1.0"),
        (["trainer.optimizers.main.epsilon=0"], "trainer.optimizers.main.epsilon is 0.0"),
        (
            ["trainer.optimizers.main.groups.a={pattern: x, learning_rate_multiplier: .nan}"],
            "trainer.optimizers.main.groups.a.learning_rate_multiplier is nan",
        ),
        (["streams.main.input.batch_size=100000000000"], "batch_size is 100000000000; it must be"),
        ([f"trainer.seed={2**70}"], "the size of trainer.seed is"),
        (
            ["runtime={distribution_strategy: mirrored, num_virtual_devices: 17}"],
            "runtime.num_virtual_devices is 17, more than the 16 rows of the smallest",
        ),
        (["trainer.ema.decay=1.0"], "trainer.ema.decay is 1.0"),
        (["trainer.nan_gradients=maybe"], "trainer.nan_gradients is 'maybe'"),
        (["trainer.evaluation.early_stopping_patience=2"], "needs trainer.checkpoint.best_metric"),
        (["runtime.distribution_strategy=ps"], "runtime.distribution_strategy is 'ps'"),
        (["runtime.tpu=local"], "set it to tpu"),
        (["runtime.num_virtual_devices=2"], "only the mirrored strategy"),
        (["runtime.model_parallel=0"], "runtime.model_parallel is 0"),
        (["runtime.model_parallel=2"], "'one_device', which gives every device a whole model"),
        (["trainer.alternation.sampler=rand"], "trainer.alternation.sampler is 'rand'"),
        (["trainer.alternation.refresh_steps=5"], "means nothing to the sampler proportional"),
        (["trainer.alternation={sampler: loss, floor_share: 0}"], "a stream could starve"),
        (["trainer.alternation.combine=add"], "trainer.alternation.combine is 'add'"),
        (["trainer.alternation={combine: sum, sampler: loss}"], "which takes every stream in ever"),
        (["trainer.alternation.multi_step=3"], "trainer.steps_per_loop is 10, which"),
        (["streams.main.interval=0"], "streams.main.interval is 0; it must be at least 1"),
        (["streams.main.interval=2"], "which the sampler proportional does not use"),
        (
            ["trainer.alternation.sampler=interval", "streams.main.weight=2"],
            "streams.main.weight is 2.0, which the sampler interval does not use",
        ),
        (["streams.main.accumulation_steps=0"], "streams.main.accumulation_steps is 0"),
        (["streams.main.weight=0"], "every streams.<name>.weight is 0"),
        (["streams.main.weight=-1"], "streams.main.weight is -1.0"),
        (["initialize.a={model_dir: runs/a, upcycle_noise: -1}"], "upcycle_noise is -1"),
        (
            ["initialize.a={model_dir: runs/a, upcycle_noise: 0.1}"],
            "nothing is copied into experts",
        ),
        (["initialize.a.upcycle_experts=true"], "there is no run to copy from"),
        (
            ["initialize={a: {model_dir: x}, b: {model_dir: y, part: head}}"],
            "initialize.b.part is 'head', which fill the same weights",
        ),
        (
            ["initialize={a: {model_dir: x, part: head}, b: {model_dir: y, part: head/map}}"],
            "initialize.a.part is 'head' and initialize.b.part is 'head/map'",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(load, overrides, expected):
    with pytest.raises(UserError) as error:
        load(overrides=overrides)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("schedule", "fits"),
    [
        ("{warmup_steps: 9}", True),
        ("{warmup_steps: 10}", False),
        ("{warmup_steps: 4, prewarm_steps: 6}", False),
        ("{preset: vatt_paper}", False),
    ],
)
def test_the_learning_rate_must_arrive_within_the_run(load, schedule, fits):
    config = load(
        overrides=["trainer.train_steps=10", f"trainer.optimizers.main.schedule={schedule}"]
    )
    if fits:
        check_reachable(config, evaluates=False)
        return
    with pytest.raises(UserError, match=r"warmup_steps = \d+ is not below"):
        check_reachable(config, evaluates=False)


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**40, 10**30, 0.5, float("nan"), float("inf"), -1e-9]),
    st.sampled_from(["", "???", "x", "${x}", "${trainer.seed}", "${nope:1}", "${", "a.b", "é\n"]),
    st.sampled_from([[], [1], [None], ["x"], {}, {"x": 1}, {"x": None}, {1: 2}, {"preset": "x"}]),
)


@functools.cache
def _whole() -> dict:
    """Every field of an experiment with streams, evaluators, groups and sources."""
    files = [str(ROOT / "configs" / "vatt" / "digits_finetune.yaml")]
    return dataclasses.asdict(load_config(files, ["trainer.optimizers.main.groups.g.pattern=a"]))


def _places(tree, path=()):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*path, key)
            yield from _places(value, (*path, key))


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_whatever_stands_in_a_field_is_taken_or_refused_in_a_sentence(tmp_path_factory, data):
    tree, path = copy.deepcopy(_whole()), data.draw(st.sampled_from(list(_places(_whole()))))
    functools.reduce(operator.getitem, path[:-1], tree)[path[-1]] = data.draw(STRANGE)
    file = tmp_path_factory.mktemp("strange") / "experiment.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True))
    try:
        config = load_config([str(file)])
        check_reachable(config, evaluates=True)
        build_task(config)
    except UserError as error:
        assert "\n" not in str(error), error
        assert str(path[-1]) in str(error) or str(path[-2:][0]) in str(error), (path, error)


def test_batches_must_divide_over_replicas_and_parts(load):
    config = load(overrides=["trainer.accumulation_steps=2"])
    check_batches(config, 4)
    with pytest.raises(UserError, match="batch_size is 16, which 3 replicas times"):
        check_batches(config, 3)
    config.streams["main"].accumulation_steps = 1
    check_batches(config, 16)
    config.streams["main"].accumulation_steps = 5
    with pytest.raises(UserError, match="1 replicas times streams.main.accumulation_steps = 5"):
        check_batches(config, 1)


def test_presets_fill_in_and_what_stands_beside_them_wins(load):
    text = (
        BASE + "trainer: {optimizers: {main: {schedule: {preset: vatt_paper, warmup_steps: 7}}}}\n"
    )
    schedule = load(text).trainer.optimizers["main"].schedule
    assert (schedule.kind, schedule.total_steps, schedule.warmup_steps) == (
        "quarter_cosine",
        500_000,
        7,
    )
    changed = load(text, ["trainer.optimizers.main.schedule.preset=vatt_reference_code"])
    assert changed.trainer.optimizers["main"].schedule.kind == "half_cosine"
    assert changed.trainer.optimizers["main"].schedule.warmup_steps == 7


def test_numbers_in_scientific_notation_are_numbers(load):
    config = load(overrides=["trainer.optimizers.main.schedule.learning_rate=1e-4"])
    assert config.trainer.optimizers["main"].schedule.learning_rate == 1e-4


def test_the_resolved_yaml_is_runnable_and_equal(load):
    text = (
        BASE
        + """
evaluators: {zs: {kind: zero_shot, prompts: ["a {}", "{}"]}}
trainer:
  optimizers: {main: {kind: adamw, schedule: {preset: vatt_reference_code}, groups: {b: {pattern:
      "bias$"}}}}
"""
    )
    config = load(text, ["streams.main.input.video={height: 32}", "streams.main.weight=2"])
    again = load(to_yaml(config))
    assert again == config
    assert to_yaml(again) == to_yaml(config)


def test_every_leaf_can_be_overridden(tmp_path, load):
    whole = load(
        BASE + "evaluators: {e: {kind: generation}}\n"
        "trainer: {optimizers: {main: {groups: {g: {pattern: a}}}}}\n",
        ["streams.main.input={video: {}, audio: {}, text: {}, datasets: {d: {path: p}}}"],
    )
    path = tmp_path / "whole.yaml"
    path.write_text(to_yaml(whole))
    overrides, expected = [], {}
    for key, value in flatten(dataclasses.asdict(whole)).items():
        if (
            key in ("task.name", "evaluators.e.kind")
            or key.endswith("preset")
            or value in (None, {})
        ):
            continue
        changed = _changed(value)
        expected[key] = changed
        text = str(changed).lower() if isinstance(changed, bool) else changed
        overrides.append(f"{key}={text}")
    got = flatten(dataclasses.asdict(load_config([str(path)], overrides, check=False)))
    assert len(expected) > 80
    assert {key: got[key] for key in expected} == expected


def _changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value, *(value[:1] or [])]
    return f"{value}x"
