"""Distributions: right numbers, and the same ones in any order of merging."""

import itertools
import random

import numpy as np
import pytest

from beam_pipelines.record.statistics import (
    CombineFacts,
    Distribution,
    Facts,
    loudness_dbfs,
    to_json,
)


def distribution(values):
    found = Distribution()
    for value in values:
        found.add(value)
    return found


def test_numbers_equal_numpy():
    values = np.random.default_rng(0).lognormal(size=5000)
    found = distribution(values).to_json()
    assert found["count"] == 5000
    assert found["min"] == pytest.approx(values.min(), abs=1e-6)
    assert found["max"] == pytest.approx(values.max(), abs=1e-6)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert found["std"] == pytest.approx(values.std(), rel=1e-5)
    # Ten bins a decade: the median is known to half a bin, a factor of 10^0.1.
    assert found["median"] == pytest.approx(np.median(values), rel=0.26)
    assert sum(count for *_, count in found["bins"]) == 5000
    for lower, upper, count in found["bins"]:
        inside = np.count_nonzero((values >= lower) & (values < upper))
        assert inside == pytest.approx(count, abs=2)


def test_zero_and_negative_numbers():
    found = distribution([-20.0, 0.0, 0.0, -3.0]).to_json()
    assert found["bins"] == [[-25.1189, -19.9526, 1], [-3.16228, -2.51189, 1], [0.0, 0.0, 2]]
    assert found["mean"] == -5.75


def test_any_order_of_merging_gives_the_same_file():
    rng = random.Random(1)
    facts = [
        Facts({"x": [rng.gauss(0, 1) for _ in range(5)]}, {"w": rng.choices("abc", k=3)})
        for _ in range(12)
    ]
    combine = CombineFacts()

    def merged(groups):
        accumulators = []
        for group in groups:
            accumulator = combine.create_accumulator()
            for fact in group:
                accumulator = combine.add_input(accumulator, fact)
            accumulators.append(accumulator)
        return to_json(combine.extract_output(combine.merge_accumulators(accumulators)))

    whole = merged([facts])
    for _ in range(5):
        rng.shuffle(facts)
        cut = rng.randrange(1, 11)
        assert merged([facts[:cut], [], facts[cut:]]) == whole
    assert whole["words"]["w"]["total"] == 36
    counts = [count for _, count in whole["words"]["w"]["top"]]
    assert counts == sorted(counts, reverse=True)


def test_ties_are_in_order_of_the_word_and_only_the_top_is_listed():
    combine = CombineFacts()
    facts = Facts({}, {"w": list(itertools.chain("bbaacd"))})
    accumulator = combine.add_input(combine.create_accumulator(), facts)
    found = to_json(accumulator, top=3)["words"]["w"]
    assert found == {"distinct": 4, "total": 6, "top": [("a", 2), ("b", 2), ("c", 1)]}


def test_loudness():
    sine = np.sin(np.linspace(0, 2 * np.pi * 100, 48000)).astype(np.float32)
    assert loudness_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert loudness_dbfs(np.ones(10, np.float32) * 0.1) == pytest.approx(-20.0, abs=1e-4)
    assert loudness_dbfs(np.zeros(10, np.float32)) == -120.0
    assert loudness_dbfs(np.zeros(0, np.float32)) == -120.0


def test_a_name_without_values_is_left_out():
    combine = CombineFacts()
    accumulator = combine.add_input(combine.create_accumulator(), Facts({"x": []}, {"w": []}))
    assert to_json(accumulator)["numbers"] == {}
