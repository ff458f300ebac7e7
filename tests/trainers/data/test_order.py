import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_models.errors import UserError
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder, permute
from trainers.data.order.mixture import MixtureBlock
from trainers.data.order.randomness import example_draws, example_seeds, hash64, uniform


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(num_items, key):
    found = permute(np.arange(num_items), num_items, np.uint64(key))
    assert sorted(found.tolist()) == list(range(num_items))


@given(st.integers(2, 2**40), st.integers(0, 2**40), st.integers(0, 2**63))
@settings(max_examples=60, deadline=None)
def test_permute_of_one_equals_row_of_many(num_items, place, key):
    place %= num_items
    places = np.array([0, place, num_items - 1])
    many = permute(places, num_items, np.uint64(key))
    one = permute(np.array([place]), num_items, np.uint64(key))
    assert many[1] == one[0]
    assert ((many >= 0) & (many < num_items)).all()


def test_permute_reaches_every_arrangement_evenly():
    counts = collections.Counter(
        tuple(permute(np.arange(4), 4, hash64(key)).tolist()) for key in range(12_000)
    )
    assert len(counts) == 24
    # 500 expected of each, standard deviation 22.
    assert min(counts.values()) > 390 and max(counts.values()) < 610


def test_hash_values_are_uniform_and_uncorrelated():
    values = uniform(hash64(1, 2, np.arange(100_000)))
    assert abs(values.mean() - 0.5) < 0.005
    assert abs(values.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02


def test_draws_and_seeds_depend_on_seed_step_and_position_alone():
    positions = np.arange(8)
    draws = example_draws(3, 5, positions, 4)
    assert draws.dtype == np.float32 and draws.shape == (8, 4)
    np.testing.assert_array_equal(draws[6:], example_draws(3, 5, positions[6:], 4))
    assert len(np.unique(draws)) == draws.size
    for other in (example_draws(4, 5, positions, 4), example_draws(3, 6, positions, 4)):
        assert not (draws == other).any()
    assert len(np.unique(example_seeds(3, 5, positions), axis=0)) == 8


def _records(order: TrainingOrder, num_steps: int, batch_size: int):
    for step in range(num_steps):
        draw = order.draw(step, np.arange(batch_size))
        for dataset in np.unique(draw.dataset):
            numbers = order.record(dataset, draw.ordinal[draw.dataset == dataset])
            yield from ((int(dataset), number) for number in numbers.tolist())


def test_every_epoch_holds_every_record_once_in_a_new_order():
    order = TrainingOrder([30], MixtureBlock([1.0]), 10, seed=1)
    seen = [record for _, record in _records(order, 9, 10)]
    epochs = [seen[0:30], seen[30:60], seen[60:90]]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_each_data_set_of_a_mixture_is_walked_epoch_by_epoch():
    order = TrainingOrder([7, 20], MixtureBlock([3.0, 1.0]), 16, seed=5)
    by_dataset = collections.defaultdict(list)
    for dataset, record in _records(order, 600, 16):
        by_dataset[dataset].append(record)
    for dataset, size in enumerate([7, 20]):
        records = by_dataset[dataset]
        for start in range(0, len(records) - size, size):
            assert sorted(records[start : start + size]) == list(range(size))


@pytest.mark.parametrize("weights", [[1, 1], [0.9, 0.1], [1, 2, 5]])
def test_mixture_shares(weights):
    block = MixtureBlock([float(weight) for weight in weights])
    order = TrainingOrder([1000] * len(weights), block, 64, seed=2)
    drawn = np.concatenate([order.draw(step, np.arange(64)).dataset for step in range(256)])
    expected = np.array(weights) / sum(weights)
    np.testing.assert_allclose(
        np.bincount(drawn) / len(drawn), expected, atol=0.001, err_msg=str(weights)
    )
    # Short runs come close as well: within two examples of the share in every batch.
    counts = np.stack([np.bincount(row, minlength=len(weights)) for row in drawn.reshape(-1, 64)])
    assert np.abs(counts - 64 * expected).max() <= 3


@given(st.integers(0, 10**7), st.integers(1, 64), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_slices_of_a_batch_equal_the_batch(step, cut, seed):
    order = TrainingOrder([100, 50], MixtureBlock([1.0, 2.0]), 64, seed)
    whole = order.draw(step, np.arange(64))
    parts = [order.draw(step, np.arange(cut)), order.draw(step, np.arange(cut, 64))]
    for field in ("dataset", "ordinal"):
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(getattr(whole, field), joined)


def test_replacements_walk_the_order_of_the_epoch():
    order = TrainingOrder([12], MixtureBlock([1.0]), 4, seed=3)
    walked = [int(order.record(0, np.array([14]), shift)[0]) for shift in range(12)]
    assert sorted(walked) == list(range(12))
    assert walked[1] == order.record(0, np.array([15]))[0]


def test_seed_changes_the_order():
    first, second = (TrainingOrder([500], MixtureBlock([1.0]), 50, seed) for seed in (1, 2))
    assert list(_records(first, 1, 50)) != list(_records(second, 1, 50))


def test_evaluation_order_is_stored_order_with_padding():
    order = EvaluationOrder([3, 4], 5)
    draws = [order.draw(step, np.arange(5)) for step in range(order.num_batches)]
    assert [draw.dataset.tolist() for draw in draws] == [[0, 0, 0, 1, 1], [1, 1, -1, -1, -1]]
    assert draws[0].ordinal.tolist() == [0, 1, 2, 0, 1]
    assert draws[1].ordinal[:2].tolist() == [2, 3]


def _distinct(sizes, weights, batch_size, same_files=()) -> TrainingOrder:
    """Of data sets of which those in `same_files` read the same records."""

    def identify(dataset, records):
        place = -1 if dataset in same_files else dataset
        return [(place, record) for record in records.tolist()]

    return TrainingOrder(sizes, MixtureBlock(weights), batch_size, 4, identify)


def _records_of_step(order, step, size) -> list[tuple[int, int]]:
    draw = order.draw(step, np.arange(size))
    return [
        (int(dataset), int(order.record(int(dataset), ordinal[None], shift[None])[0]))
        for dataset, ordinal, shift in zip(draw.dataset, draw.ordinal, draw.shift, strict=True)
    ]


def test_no_record_comes_twice_in_a_batch_where_epochs_end():
    size, count = 8, 30
    order = _distinct([11], [1.0], size)
    plain = TrainingOrder([11], MixtureBlock([1.0]), size, 4)
    repeated = [len(set(_records_of_step(plain, step, size))) < size for step in range(count)]
    assert sum(repeated) > 5
    for step in range(count):
        mine = _records_of_step(order, step, size)
        assert len(set(mine)) == size
        # What came first stays; a batch that has no repeat is as without the rule.
        assert repeated[step] == (mine != _records_of_step(plain, step, size))
        parts = [order.draw(step, np.arange(start, start + 2)).shift for start in range(0, size, 2)]
        np.testing.assert_array_equal(np.concatenate(parts), order.draw(step, np.arange(8)).shift)


def test_data_sets_of_the_same_files_share_their_records_in_a_batch():
    order = _distinct([9, 9, 5], [1.0, 1.0, 1.0], 9, same_files=(0, 1))
    for step in range(20):
        found = _records_of_step(order, step, 9)
        assert len({("both" if dataset < 2 else "other", r) for dataset, r in found}) == 9
        taken = order.taken(step)
        assert not any(taken.add(dataset, np.array([record])) for dataset, record in found)


def test_a_batch_of_more_rows_than_records_is_refused():
    with pytest.raises(UserError, match="8 different examples takes more than the 7 records"):
        _distinct([7], [1.0], 8).draw(0, np.arange(8))
