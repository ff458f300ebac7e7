"""Ways out of a divergence: sound checkpoints, going back, and limits."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_models.errors import UserError
from tests.trainers.loop.support import losses, run_toy, tensors, toy_config
from trainers.loop import checkpoints
from trainers.loop.monitoring.loss_watch import WINDOW, LossWatch, restored
from trainers.loop.preemption import DIVERGED_EXIT_CODE

EVERY_2 = "trainer.checkpoint={interval_steps: 2, keep: 2}"


def _steps(run):
    return checkpoints.list_steps(str(run / "checkpoints"))


def _seen(values, watch=None):
    watch = watch or LossWatch()
    for value in values:
        watch.observe("main", value, is_finite=bool(np.isfinite(value)))
    return watch


def test_the_last_checkpoint_before_the_losses_left_is_kept_and_named(tmp_path, capsys):
    """Losses are large from batch 26 on, which the weights after step 26 give, and none at 40."""
    run = tmp_path / "run"
    bad = ["task.large_from_step=26", "task.nan_from_step=40", "trainer.train_steps=60"]
    assert run_toy(toy_config(tmp_path, EVERY_2, *bad), run) == DIVERGED_EXIT_CODE
    assert _steps(run) == [24, 40]
    said = capsys.readouterr().err
    assert "the last checkpoint before a loss left its band is that of step 24" in said
    assert f"`mmstack train --model_dir={run} --from_step=24 …`" in said
    (setting,) = re.findall(r"--set (\S*learning_rate=\S+),", said)
    assert setting == "trainer.optimizers.main.schedule.learning_rate=0.0005"
    assert "--set trainer.optimizers.main.clip_global_norm=1" in said
    # What it says leads out of it.
    way = [*bad, setting, "trainer.nan_gradients=zero", "trainer.nan_gradients_limit=100"]
    assert run_toy(toy_config(tmp_path, EVERY_2, *way), run, from_step=24) == 0
    assert _steps(run)[-1] == 60


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, capsys):
    run = tmp_path / "run"
    late = "trainer.optimizers.main={kind: sgd, schedule: {kind: linear, learning_rate: 1.0e-3}}"
    config = toy_config(tmp_path, "trainer.checkpoint.interval_steps=1", late)
    assert run_toy(toy_config(tmp_path, late, "trainer.train_steps=3"), run) == 0
    # A loss of finite gradients, and a rate that takes the weights out of all numbers.
    config.trainer.optimizers["main"].schedule.learning_rate = 1e39
    assert run_toy(config, run) == DIVERGED_EXIT_CODE
    assert _steps(run) == [3]
    assert "left weights that are no numbers" in capsys.readouterr().err
    assert all(np.isfinite(value).all() for value in tensors(run, 3).values())


@pytest.mark.parametrize(("limit", "stops"), [(3, 16), (0, 13)])
def test_replaced_gradients_have_a_limit(tmp_path, capsys, limit, stops):
    run = tmp_path / "run"
    zero = [f"trainer.nan_gradients_limit={limit}", "trainer.nan_gradients=zero"]
    config = toy_config(tmp_path, *zero, "task.nan_from_step=13")
    assert run_toy(config, run) == DIVERGED_EXIT_CODE
    said = capsys.readouterr().err
    assert f"stopped at step {stops}: " in said
    assert f"in {limit + 1} of its last 100 steps, and trainer.nan_gradients_limit is" in said
    assert json.loads((run / f"nan-step-{stops}.json").read_text())["example_keys"]


def test_a_limit_that_nothing_reads_is_refused(tmp_path):
    with pytest.raises(UserError, match="nan_gradients_limit is 3, but trainer.nan_gradients is"):
        toy_config(tmp_path, "trainer.nan_gradients_limit=3")


def test_going_back_leaves_what_is_newer_aside_and_the_same_command_goes_on(tmp_path, capsys):
    run, keep = tmp_path / "run", "trainer.checkpoint={interval_steps: 5, keep: 9}"
    run_toy(toy_config(tmp_path, keep), run)
    whole, logged = tensors(run, 20), losses(run)
    faster = "trainer.optimizers.main.schedule.learning_rate=0.01"
    assert run_toy(toy_config(tmp_path, keep, faster), run, from_step=10) == 0
    assert f"resumed from {run}/checkpoints/ckpt-10\n" in capsys.readouterr().err
    assert {path.name for path in (run / "checkpoints").glob("left-*.index")} == {
        "left-ckpt-15.index",
        "left-ckpt-20.index",
    }
    changed = losses(run)
    assert (changed[10], changed[20] != logged[20]) == (logged[10], True)
    # Started again after it was stopped, it does not go back once more.
    more = [keep, faster, "trainer.train_steps=20"]
    assert run_toy(toy_config(tmp_path, *more), run, from_step=10) == 0
    assert "already at step 20" in capsys.readouterr().err and losses(run) == changed
    # Another attempt does, and leads to what an uninterrupted run leads to.
    assert run_toy(toy_config(tmp_path, keep), run, from_step=5) == 0
    again = tensors(run, 20)
    assert all(np.array_equal(again[name], value) for name, value in whole.items())
    left = {path.name for path in (run / "checkpoints").glob("left-*.index")}
    assert left == {f"left-ckpt-{step}.index" for step in (10, 15, 20)}
    with pytest.raises(UserError, match=r"--from_step is 7, but .* \[5, 10, 15, 20\]"):
        run_toy(toy_config(tmp_path, keep), run, from_step=7)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    level=st.floats(-5, 50),
    spread=st.floats(1e-3, 5),
    count=st.integers(30, 200),
    fall=st.floats(0, 2),
)
def test_noise_and_falling_losses_stay_in_their_band_and_jumps_do_not(
    seed, level, spread, count, fall
):
    draws = np.random.default_rng(seed).uniform(-1, 1, count)
    values = level + spread * draws - fall * np.arange(count) / count
    watch = _seen(values)
    watch.saved(count)
    _seen(values[-1:], watch)
    assert watch.sound_step == count
    jump = values[-1] + 40 * (spread + fall) + abs(level)
    watch.saved(count + 1)
    # The next loss tells that its weights are ruined.
    _seen([jump], watch)
    watch.saved(count + 2)
    _seen([values[-1], jump, float("nan")], watch)
    watch.saved(count + 3)
    _seen(values[-3:], watch)
    assert watch.sound_step == count
    # It is back after a while.
    _seen(values[-20:], watch)
    watch.saved(count + 20)
    _seen(values[-1:], restored(json.loads(json.dumps(watch.state))))
    assert _seen(values[-1:], watch).sound_step == count + 20


@given(st.lists(st.booleans(), max_size=400))
def test_bad_steps_are_counted_in_a_window(is_bad):
    watch = _seen([float("nan") if bad else 1.0 for bad in is_bad])
    assert watch.bad_steps("main") == sum(is_bad[-WINDOW:])
