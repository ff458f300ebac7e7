"""Span corruption against the numbers of T5 and an independent reference."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from mm_models.text import span_corruption
from mm_models.text.span_corruption import SpanCorruption, compact, corrupt, noise_mask

VOCABULARY_SIZE = 250_100


def test_a_masked_sequence_by_hand():
    ids = np.arange(101, 121)[np.newaxis]
    mask = np.zeros((1, 20), bool)
    mask[0, [3, 4, 5, 11, 12, 17]] = True
    inputs, targets = corrupt(ids.astype(np.int32), np.array([20], np.int32), mask, VOCABULARY_SIZE)
    assert inputs.shape == (1, 21)
    assert np.trim_zeros(inputs.numpy()[0]).tolist() == [
        *(101, 102, 103, 250099),
        *range(107, 112),
        250098,
        *range(114, 118),
        *(250097, 119, 120, 1),
    ]
    assert np.trim_zeros(targets.numpy()[0]).tolist() == [
        *(250099, 104, 105, 106, 250098, 112, 113, 250097, 118, 250096, 1)
    ]


def test_segments_alternate_and_begin_with_a_kept_one():
    kept = tf.constant([[4, 6, 7, 0], [3, 0, 0, 0]])
    noise = tf.constant([[2, 1, 3, 0], [2, 0, 0, 0]])
    mask = span_corruption.mask_of_segments(kept, noise, 23).numpy()
    assert np.flatnonzero(mask[0]).tolist() == [4, 5, 12, 20, 21, 22]
    assert np.flatnonzero(mask[1]).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("num_inputs", "raw", "num_targets"),
    [(512, 568, 114), (1024, 1137, 229), (256, 284, 58), (128, 141, 29), (64, 70, 14)],
)
def test_the_longest_sequences_are_those_of_t5(num_inputs, raw, num_targets):
    assert SpanCorruption().longest(num_inputs, num_targets) == raw


def test_counts_and_their_monotony():
    lengths = np.array([10, 20, 30, 50, 100, 568, 1137])
    noise, spans = SpanCorruption().counts(lengths)
    assert noise.tolist() == [2, 3, 4, 8, 15, 85, 171]
    assert spans.tolist() == [1, 1, 1, 3, 5, 28, 57]
    sizes = SpanCorruption().sizes(np.arange(1, 3000))
    assert all((np.diff(size) >= 0).all() for size in sizes)
    assert SpanCorruption(0.5, 3.0).counts(12)[0] == 6
    assert SpanCorruption(0.15, 8.0).counts(100)[1] == 2


def _spans(mask):
    return int(np.sum(mask & ~np.concatenate([[False], mask[:-1]])))


def test_masks_have_the_stated_numbers_and_are_functions_of_their_seed():
    lengths = np.array([0, 1, 2, 3, 10, 30, 50, 64], np.int32)
    seeds = np.stack([np.arange(8), np.arange(8) + 5], axis=1).astype(np.int32)
    mask = noise_mask(lengths, 64, seeds).numpy()
    noise, spans = SpanCorruption().counts(lengths)
    assert mask.sum(axis=1)[2:].tolist() == noise[2:].tolist()
    assert [_spans(row) for row in mask][2:] == spans[2:].tolist()
    assert not mask[:2].any() and not mask[:, 0].any()
    # A row does not depend on its neighbours, nor on the compiler.
    alone = noise_mask(lengths[6:7], 64, seeds[6:7]).numpy()
    assert (alone[0] == mask[6]).all()
    compiled = tf.function(noise_mask, jit_compile=True)(lengths, 64, seeds).numpy()
    assert (compiled == mask).all()
    assert (noise_mask(lengths, 64, seeds + 1).numpy() != mask).any()


def test_compositions_are_uniform():
    """Seven items in three segments: fifteen ways, each as likely as the others."""
    rows = 6000
    seeds = np.stack([np.arange(rows), np.full(rows, 9)], axis=1).astype(np.int32)
    found = span_corruption.segment_lengths(
        tf.fill([rows], 7), tf.fill([rows], 3), 8, seeds
    ).numpy()
    assert (found.sum(axis=1) == 7).all() and (found[:, :3] > 0).all() and not found[:, 3:].any()
    counts = collections.Counter(map(tuple, found.tolist()))
    assert len(counts) == 15
    expected = rows / 15
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 36.1  # 0.1 % of 14 dof.


def _reference(ids, mask):
    """Inputs and targets of one sequence, token by token."""
    both = []
    for taken in (mask, ~mask):
        tokens, number = [], 0
        for place, token in enumerate(ids):
            if not taken[place]:
                tokens.append(int(token))
            elif place == 0 or not taken[place - 1]:
                tokens.append(VOCABULARY_SIZE - 1 - number)
                number += 1
        both.append([*tokens, 1])
    return both


def test_corruption_equals_the_plain_loop_and_loses_nothing():
    random = np.random.default_rng(3)
    lengths = np.array([1, 2, 5, 17, 40, 40], np.int32)
    ids = random.integers(3, 900, (6, 40)).astype(np.int32)
    seeds = random.integers(0, 2**31 - 1, (6, 2)).astype(np.int32)
    mask = noise_mask(lengths, 40, seeds)
    run = tf.function(lambda *a: corrupt(*a, VOCABULARY_SIZE), jit_compile=True)
    inputs, targets = run(ids, lengths, mask)
    sizes = SpanCorruption().sizes(lengths[1:])
    for row, length in enumerate(lengths):
        expected = _reference(ids[row, :length], mask.numpy()[row, :length])
        for found, wanted in zip((inputs, targets), expected, strict=True):
            assert np.trim_zeros(found.numpy()[row], "b").tolist() == wanted
    for found, size in zip((inputs, targets), sizes, strict=True):
        assert np.count_nonzero(found.numpy()[1:], axis=1).tolist() == size.tolist()


def test_compact_drops_what_does_not_fit():
    values = tf.constant([[5, 6, 7, 8]])
    kept = tf.constant([[True, False, True, True]])
    assert compact(values, kept, 2).numpy().tolist() == [[5, 7]]
    assert compact(values, kept, 5).numpy().tolist() == [[5, 7, 8, 0, 0]]
