"""Exact resumption, damage, leftovers, other experiments."""

import json
import pathlib
import shutil

import numpy as np
import pytest

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
from trainers.loop.identity import check_identity

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


def test_nothing_but_damage_is_refused(run_copy):
    for step in (10, 20):
        path = run_copy / "checkpoints" / f"ckpt-{step}.data-00000-of-00001"
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="every checkpoint in .* is damaged"):
        run_toy(toy_config(run_copy.parent, *EXACT, "trainer.train_steps=25"), run_copy)


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


def test_old_checkpoints_are_dropped(tmp_path):
    overrides = ["trainer.checkpoint={interval_steps: 4, keep: 2}"]
    run_toy(toy_config(tmp_path, *overrides), tmp_path / "run")
    assert checkpoints.list_steps(str(tmp_path / "run" / "checkpoints")) == [16, 20]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("task.temperature=0.7", "task.temperature is 0.5 there and 0.7 here"),
        ("streams.main.input.batch_size=8", "streams.main.input is"),
        ("trainer.seed=9", "trainer.seed is 0 there and 9 here"),
        ("trainer.optimizers.main.kind=sgd", "trainer.optimizers.main.kind is 'adam' there"),
        ("trainer.ema.decay=0", "trainer.ema is True there and False here"),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(run_copy, override, key):
    config = toy_config(run_copy.parent, *EXACT, "trainer.train_steps=30", override)
    with pytest.raises(UserError, match="is a checkpoint of another experiment") as error:
        run_toy(config, run_copy)
    assert key in str(error.value)


def test_a_setting_that_only_one_side_knows_is_another_experiment():
    saved = {"task.width": 16, "task.gone": 1}
    check_identity(dict(saved), saved, "ckpt-1")
    with pytest.raises(UserError, match="task.young is None there and 'some' here"):
        check_identity(saved | {"task.young": "some"}, saved, "ckpt-1")
    with pytest.raises(UserError, match="task.gone is 1 there and None here"):
        check_identity({"task.width": 16}, saved, "ckpt-1")


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
