"""Exact resumption, damage, leftovers, other experiments."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.loop.support import (
    assert_same_tensors,
    losses,
    metric_lines,
    run_toy,
    tensors,
    toy_config,
)
from trainers import runs
from trainers.loop import checkpoints

SCHEDULE = "trainer.optimizers.main.schedule={kind: half_cosine, warmup_steps: 5, total_steps: 100}"
EXACT = [SCHEDULE, "trainer.ema.decay=0.9", "task.dropout_rate=0.3", "task.batch_norm=true"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """A run of 20 steps with checkpoints at 10 and 20."""
    folder = tmp_path_factory.mktemp("finished")
    run_toy(toy_config(folder, *EXACT), folder / "run")
    return folder / "run"


@pytest.fixture
def run_copy(finished, tmp_path) -> pathlib.Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_twice_50_steps_equal_100_bit_by_bit(tmp_path):
    long = [
        *EXACT,
        "trainer.checkpoint.interval_steps=40",
        "trainer.summaries.log_interval_steps=30",
    ]
    run_toy(toy_config(tmp_path, *long, "trainer.train_steps=100"), tmp_path / "whole")
    run_toy(toy_config(tmp_path, *long, "trainer.train_steps=50"), tmp_path / "parts")
    run_toy(toy_config(tmp_path, *long, "trainer.train_steps=100"), tmp_path / "parts")
    assert_same_tensors(tensors(tmp_path / "whole", 100), tensors(tmp_path / "parts", 100))
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    # The shorter run logged its own end; its window there is another one.
    assert {step: parts[step] for step in (30, 90)} == {step: whole[step] for step in (30, 90)}


def test_resumes_on_another_number_of_replicas(tmp_path):
    two = ["runtime.distribution_strategy=mirrored", "runtime.num_virtual_devices=2"]
    plain = ["trainer.ema.decay=0.9", "trainer.optimizers.main={kind: sgd, momentum: 0.9}"]
    run_toy(toy_config(tmp_path, *plain, "trainer.train_steps=10"), tmp_path / "mixed")
    run_toy(toy_config(tmp_path, *plain, *two), tmp_path / "mixed")
    run_toy(toy_config(tmp_path, *plain), tmp_path / "single")
    single, mixed = tensors(tmp_path / "single", 20), tensors(tmp_path / "mixed", 20)
    assert single.keys() == mixed.keys()
    for name, value in single.items():
        np.testing.assert_allclose(mixed[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def _damage(folder: pathlib.Path, kind: str) -> None:
    data, index = folder / "ckpt-20.data-00000-of-00001", folder / "ckpt-20.index"
    content = bytearray(data.read_bytes())
    if kind == "truncated data":
        data.write_bytes(content[: len(content) // 2])
    elif kind == "empty data":
        data.write_bytes(b"")
    elif kind == "missing data":
        data.unlink()
    elif kind == "flipped bit":
        content[len(content) // 3] ^= 4
        data.write_bytes(content)
    elif kind == "truncated index":
        index.write_bytes(index.read_bytes()[:-40])
    elif kind == "empty index":
        index.write_bytes(b"")
    elif kind == "flipped index":
        content = bytearray(index.read_bytes())
        content[len(content) // 2] ^= 1
        index.write_bytes(content)
    elif kind == "missing index":
        index.unlink()


@pytest.mark.parametrize(
    "kind",
    [
        "truncated data",
        "empty data",
        "missing data",
        "flipped bit",
        "truncated index",
        "empty index",
        "flipped index",
        "missing index",
    ],
)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(finished, run_copy, kind, capsys):
    _damage(run_copy / "checkpoints", kind)
    run_toy(toy_config(run_copy.parent, *EXACT), run_copy)
    said = capsys.readouterr().err
    assert f"resumed from {run_copy}/checkpoints/ckpt-10" in said
    if kind != "missing index":
        assert "ckpt-20 is damaged (" in said
    assert_same_tensors(tensors(run_copy, 20), tensors(finished, 20))
    assert losses(run_copy) == losses(finished)


def test_a_damaged_pointer_file_does_not_matter(finished, run_copy, capsys):
    for content in (b"", b'model_checkpoint_path: "nowhere"\n', b"\xff\x00garbage"):
        (run_copy / "checkpoints" / "checkpoint").write_bytes(content)
        run_toy(toy_config(run_copy.parent, *EXACT, "trainer.train_steps=25"), run_copy)
        assert "ckpt-2" in capsys.readouterr().err
    assert checkpoints.list_steps(str(run_copy / "checkpoints")) == [10, 20, 25]


def test_nothing_but_damage_is_refused_on_every_start(run_copy):
    for step in (10, 20):
        path = run_copy / "checkpoints" / f"ckpt-{step}.data-00000-of-00001"
        path.write_bytes(path.read_bytes()[:100])
    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    config = toy_config(run_copy.parent, *EXACT, "trainer.train_steps=25")
    for _ in range(3):
        with pytest.raises(UserError, match="every checkpoint in .* is damaged .*remove that fold"):
            run_toy(config, run_copy)
    assert {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()} == before
    # One that an earlier start has set aside counts too.
    for path in (run_copy / "checkpoints").glob("ckpt-*"):
        path.rename(path.with_name(f"damaged-{path.name}"))
    with pytest.raises(UserError, match="every checkpoint in .* is damaged"):
        run_toy(config, run_copy)


def test_what_passes_is_no_damage(run_copy, monkeypatch):
    def fail(path, *, verify):
        raise tf.errors.UnavailableError(None, None, "the storage does not answer")

    monkeypatch.setattr(checkpoints, "read_state", fail)
    with pytest.raises(UserError, match="cannot be read now .*start the same command again"):
        run_toy(toy_config(run_copy.parent, *EXACT, "trainer.train_steps=25"), run_copy)
    assert checkpoints.list_steps(str(run_copy / "checkpoints")) == [10, 20]


def test_leftovers_of_interrupted_saves_are_removed(run_copy):
    folder = run_copy / "checkpoints"
    (folder / "ckpt-30_temp").mkdir()
    (folder / "ckpt-30_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    (folder / "ckpt-30.data-00000-of-00001").write_bytes(b"x")
    (folder / ".tmp-thing").write_bytes(b"x")
    (folder / "mine.txt").write_bytes(b"kept")
    run_toy(toy_config(run_copy.parent, *EXACT, "trainer.train_steps=21"), run_copy)
    left = {path.name for path in folder.iterdir()}
    assert "mine.txt" in left
    assert not [name for name in left if "temp" in name or "tmp" in name or "ckpt-30" in name]


def test_old_checkpoints_are_dropped_over_restarts(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    for steps, interval, keep, left in (
        (10, 2, 5, [2, 4, 6, 8, 10]),
        (16, 3, 3, [12, 15, 16]),
        (18, 2, 3, [15, 16, 18]),
        (19, 2, 1, [19]),
    ):
        kept = f"trainer.checkpoint={{interval_steps: {interval}, keep: {keep}}}"
        run_toy(toy_config(tmp_path, kept, f"trainer.train_steps={steps}"), tmp_path / "run")
        assert checkpoints.list_steps(str(folder)) == left
    names = [path.name for path in folder.iterdir()]
    assert sorted(names) == ["checkpoint", "ckpt-19.data-00000-of-00001", "ckpt-19.index"]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["task.temperature=0.7"], ["task.temperature 0.5 → 0.7"]),
        (["streams.main.input.batch_size=8"], ["streams.main.input.batch_size 16 → 8"]),
        (["trainer.accumulation_steps=2"], ["streams.main.accumulation_steps 1 → 2"]),
        (["trainer.optimizers.main.kind=sgd"], ["trainer.optimizers.main.kind 'adam' → 'sgd'"]),
        (["trainer.ema.decay=0", "trainer.seed=9"], ["trainer.ema.decay 0.9 → 0", "seed 0 → 9"]),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(run_copy, overrides, named):
    before = sorted(run_copy.rglob("*"))
    config = toy_config(run_copy.parent, *EXACT, "trainer.train_steps=30", *overrides)
    with pytest.raises(UserError, match="is a checkpoint of another experiment") as error:
        run_toy(config, run_copy)
    for text in (*named, "put", "--model_dir"):
        assert text in str(error.value)
    assert sorted(run_copy.rglob("*")) == before


def test_settings_that_may_change_are_noted_where_they_change_results(run_copy, tmp_path, capsys):
    shutil.copytree(run_copy, tmp_path / "other")
    quiet = ["streams.main.accumulation_steps=1", "trainer.steps_per_loop=1", "name=other"]
    quiet += ["trainer.checkpoint={interval_steps: 3, keep: 5}", "trainer.alternation.multi_step=1"]
    more = "trainer.train_steps=24"
    run_toy(toy_config(tmp_path, *EXACT, more, *quiet), run_copy)
    said = capsys.readouterr().err
    assert "  with trainer.train_steps 20 → 24\n" in said and said.count("  with ") == 1
    rate = "trainer.optimizers.main.schedule.learning_rate"
    run_toy(toy_config(tmp_path, *EXACT, more, f"{rate}=0.1"), tmp_path / "other")
    assert f"  with {rate} 0.001 → 0.1\n" in capsys.readouterr().err
    plain, faster = tensors(run_copy, 24), tensors(tmp_path / "other", 24)
    key = next(key for key in plain if key.startswith("model/right/_kernel"))
    assert not np.array_equal(faster[key], plain[key])


def test_lines_after_the_checkpoint_are_logged_once(finished, run_copy):
    log = run_copy / "metrics.jsonl"
    with log.open("a") as file:
        file.write(json.dumps({"step": 25, "train/loss": 1.0}) + "\n" + '{"step": 30, "tra')
    run_toy(toy_config(run_copy.parent, *EXACT, "trainer.train_steps=30"), run_copy)
    assert [line["step"] for line in metric_lines(run_copy)] == [5, 10, 15, 20, 25, 30]
    assert losses(run_copy)[25] != 1.0


def test_a_finished_run_is_left_alone(run_copy, capsys):
    before = {path: path.stat().st_mtime_ns for path in run_copy.rglob("*.jsonl")}
    assert run_toy(toy_config(run_copy.parent, *EXACT), run_copy) == 0
    assert "already at step 20" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run_copy.rglob("*.jsonl")} == before


def test_the_run_folder_is_runnable_and_loads_back(finished):
    saved = tensors(finished, 20)
    for use_ema, part in ((True, "ema/"), (False, "")):
        run = runs.load_run(str(finished), use_ema=use_ema)
        assert (run.step, run.config.trainer.ema.decay) == (20, 0.9)
        kernel = next(v for v in run.model.trainable_variables if v.path.endswith("right/kernel"))
        index = [v.path for v in run.model.trainable_variables].index(kernel.path)
        name = f"{part}{index}" if use_ema else "model/right/_kernel"
        key = next(key for key in saved if key.startswith(f"{name}/"))
        np.testing.assert_array_equal(kernel.numpy(), saved[key])


def test_loading_what_is_not_there_is_refused(tmp_path, finished):
    with pytest.raises(UserError, match="is no run folder"):
        runs.load_run(str(tmp_path))
    with pytest.raises(UserError, match="best has no checkpoint"):
        runs.load_run(str(finished), "best")
    with pytest.raises(UserError, match="checkpoint .*ckpt-7 does not exist"):
        runs.load_run(str(finished), str(finished / "checkpoints" / "ckpt-7"))
