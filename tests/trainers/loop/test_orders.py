"""Which stream a step takes: shares, determinism, positions and what is kept in a checkpoint."""

import itertools
import json

import numpy as np
import pytest

from trainers.config.schema import AlternationConfig
from trainers.loop.alternation.orders import IntervalOrder, ProportionalOrder, RandomOrder
from trainers.loop.alternation.samplers import MeasuredOrder

WEIGHTS = {"d": 0.5, "a": 3.0, "b": 1.0, "c": 0.0}


def _names(order, stop: int, start: int = 0) -> list[str]:
    return [name for step in range(start, stop) for name in order.streams(step)]


@pytest.mark.parametrize("kind", [ProportionalOrder, RandomOrder])
def test_shares_follow_the_weights_and_nothing_but_seed_and_step(kind):
    order = kind(WEIGHTS, seed=5)
    names = _names(order, 2000)
    assert names == _names(kind(dict(sorted(WEIGHTS.items())), seed=5), 2000)
    assert names != _names(kind(WEIGHTS, seed=6), 2000)
    # Independent draws stay within four standard deviations, which are below sqrt(2000) / 2.
    tolerance = 4 if kind is ProportionalOrder else 90
    for name, weight in WEIGHTS.items():
        assert abs(names.count(name) - 2000 * weight / 4.5) <= tolerance
    for step in (0, 1, 77, 2000):
        assert order.counts(step) == {name: names[:step].count(name) for name in ("a", "b", "d")}
    counts = order.counts(3_000_000)
    assert sum(counts.values()) == 3_000_000
    assert abs(counts["a"] / 3_000_000 - 2 / 3) < 1e-5 * tolerance**2


def test_random_draws_are_independent_of_each_other():
    picks = RandomOrder({"a": 1.0, "b": 1.0}, seed=1).indices(0, 40_000).astype(float)
    for lag in (1, 2, 3, 7):
        assert abs(np.corrcoef(picks[:-lag], picks[lag:])[0, 1]) < 0.02
    # A low-discrepancy order of equal shares never takes one stream four times in a row.
    assert "aaaa" in "".join(_names(RandomOrder({"a": 1.0, "b": 1.0}, seed=1), 200))
    assert "aaaa" not in "".join(_names(ProportionalOrder({"a": 1.0, "b": 1.0}, seed=1), 200))


def test_one_stream_takes_every_step():
    order = ProportionalOrder({"only": 0.1, "never": 0.0}, seed=0)
    assert set(_names(order, 50)) == {"only"}
    assert order.counts(10**12) == {"only": 10**12}


RELEASED = dict(zip("abcdef", (1, 1, 12, 5, 12, 8), strict=True))


def _walked(intervals: dict[str, int], passes: int) -> list[str]:
    """Every pass, one after the other."""
    counters = dict.fromkeys(intervals, 0)
    taken = []
    for _ in range(passes):
        for name, interval in intervals.items():
            counters[name] += 1
            if counters[name] % interval == 0:
                taken.append(name)
    return taken


def test_intervals_give_the_released_codes_order():
    order = IntervalOrder(RELEASED)
    assert len(_walked(RELEASED, 12)) == 29
    walked = _walked(RELEASED, 120)
    assert len(walked) == 299
    assert _names(order, 299) == walked
    assert list(order.counts(299).values()) == [120, 120, 10, 24, 10, 15]
    for step in range(299):
        assert order.counts(step) == {name: walked[:step].count(name) for name in RELEASED}
    # The order repeats after 120 passes, so that any position is known at once.
    far = 10**12 * 299 + 29
    assert order.counts(far) == {
        name: 10**12 * 120 // interval + walked[:29].count(name)
        for name, interval in RELEASED.items()
    }
    assert _names(order, far + 5, far) == walked[29:34]
    np.testing.assert_allclose(order.shares, np.array([120, 120, 10, 24, 10, 15]) / 299)


@pytest.mark.parametrize("intervals", [(3, 5), (4, 4), (2,), (7, 1, 7)])
def test_intervals_without_a_stream_in_every_pass(intervals):
    named = {f"s{index}": interval for index, interval in enumerate(intervals)}
    walked = _walked(named, 200)
    order = IntervalOrder(named)
    assert _names(order, len(walked)) == walked
    indices = order.indices(11, len(walked) - 3)
    assert [order.names[index] for index in indices] == walked[11:-3]


def _measured(statistic="loss", **options) -> MeasuredOrder:
    options = {"sampler": statistic, "refresh_steps": 10, "floor_share": 0.25, **options}
    return MeasuredOrder({"a": 1.0, "b": 1.0, "c": 2.0, "z": 0.0}, 3, AlternationConfig(**options))


def _drive(order: MeasuredOrder, start: int, stop: int, losses) -> list[str]:
    taken = []
    for step in range(start, stop):
        order.refresh(step)
        (name,) = order.streams(step)
        order.observe(name, next(losses[name]))
        taken.append(name)
    return taken


def test_shares_follow_the_mean_loss_above_a_floor():
    order = _measured()
    losses = {
        name: itertools.repeat(value) for name, value in {"a": 6.0, "b": 2.0, "c": 0.0}.items()
    }
    _drive(order, 0, 11, losses)
    # Weight times loss is 6, 2, 0; a quarter of the steps goes by weight, 1 : 1 : 2.
    expected = np.array([0.75 * 6 / 8 + 0.25 / 4, 0.75 * 2 / 8 + 0.25 / 4, 0.25 / 2])
    np.testing.assert_allclose(order.shares, expected, rtol=1e-12)
    taken = _drive(order, 11, 400, losses)
    for name, share in zip("abc", expected, strict=True):
        assert abs(taken.count(name) / len(taken) - share) < 0.02


def test_shares_follow_the_spread_and_forget():
    order = _measured("uncertainty")
    losses = {"a": itertools.cycle([1.0, 5.0]), "b": itertools.repeat(9.0)}
    losses["c"] = itertools.cycle([3.0, 5.0])
    _drive(order, 0, 301, losses)
    # Deviations 2, 0, 1 times weights 1, 1, 2.
    expected = 0.75 * np.array([2, 0, 2]) / 4 + 0.25 * np.array([1, 1, 2]) / 4
    np.testing.assert_allclose(order.shares, expected, atol=0.02)
    quiet = {name: itertools.repeat(1.0) for name in "abc"}
    quiet["b"] = itertools.cycle([0.0, 2.0])
    _drive(order, 301, 601, quiet)
    assert order.shares[1] > 0.7


def test_losses_that_are_no_numbers_are_not_counted():
    order = _measured()
    losses = {name: itertools.cycle([float("nan"), 1.0]) for name in "abc"}
    losses["b"] = itertools.repeat(float("inf"))
    _drive(order, 0, 31, losses)
    # Never measured, b counts as the mean of the others.
    np.testing.assert_allclose(order.shares, [0.25, 0.25, 0.5], rtol=1e-12)


@pytest.mark.parametrize("statistic", ["loss", "uncertainty"])
def test_a_measured_order_goes_on_from_its_state(statistic):
    def draws(name):
        return iter(np.random.default_rng([ord(name)]).gamma(2.0, size=1000).tolist())

    losses = {name: draws(name) for name in "abc"}
    whole, taken = _measured(statistic), []
    states = {}
    for step in range(60):
        states[step] = json.dumps(whole.state), {n: taken.count(n) for n in "abc"}
        assert whole.counts(step) == states[step][1]
        taken += _drive(whole, step, step + 1, losses)
    for step in (1, 9, 10, 11, 37, 40):
        text, counts = states[step]
        again = _measured(statistic)
        again.restore(json.loads(text))
        assert again.counts(step) == counts
        rest = {name: itertools.islice(draws(name), counts[name], None) for name in "abc"}
        assert _drive(again, step, 60, rest) == taken[step:]
        assert again.state == whole.state


def test_runs_of_steps_are_counted_ahead():
    order = IntervalOrder({"a": 1, "b": 2})
    # Steps a ab a ab …: a a b a a b.
    names = _names(order, 600)
    expected = {tuple((name,) for name in names[at : at + 4]) for at in range(8, 600, 4)}
    found = list(order.blocks(5, 600, 4))
    assert set(found) == expected
    assert len(found) == len(expected) == 3
    assert len(list(_measured().blocks(0, 100, 2))) == 9
    for weights in ({"a": 5.0, "b": 1.0, "c": 1.0, "d": 2.0, "e": 1.0, "f": 1.0},):
        proportional = ProportionalOrder(weights, seed=0)
        assert len(list(proportional.blocks(0, 1_500_000, 2))) <= 12
