"""The search for the largest batch against trying them all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.planning.tpu.largest_batch import MOST, Tried, largest_batch

CANDIDATES = [1, 2, 4, *range(8, 20000, 8)]


@settings(deadline=None)
@given(
    fixed=st.integers(0, 1000),
    slope=st.floats(1.0, 400.0),
    curve=st.sampled_from([0.0, 0.001, 0.05]),
    available=st.integers(100, 10000),
    start=st.integers(1, 300),
)
def test_it_finds_what_trying_them_all_finds_in_few_tries(fixed, slope, curve, available, start):
    def needed(examples):
        return int(fixed + slope * examples + curve * examples**2)

    calls = []

    def try_batch(examples):
        calls.append(examples)
        return Tried(examples, needed(examples), needed(examples) <= available)

    best, tried = largest_batch(try_batch, start, available)
    fitting = [size for size in CANDIDATES if needed(size) <= available]
    assert (best.examples if best else None) == max(fitting, default=None)
    assert len(calls) == len(set(calls)) == len(tried) <= 20


def test_memory_that_grows_evenly_takes_five_tries():
    def try_batch(examples):
        return Tried(examples, 1000 + 10 * examples, 1000 + 10 * examples <= 5000)

    best, tried = largest_batch(try_batch, 16, 5000)
    assert best.examples == 400
    assert len(tried) <= 5


def test_what_always_fits_is_not_tried_for_more():
    best, tried = largest_batch(lambda examples: Tried(examples, 10, True), 8, 100)
    assert best == Tried(MOST, 10, True)
    assert len(tried) < 16
