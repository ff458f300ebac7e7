"""The symmetric loss of two modalities with several instances: by hand, in float64, with masks."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.losses.contrastive import nce_loss, pair_nce_loss

LN = math.log


def value(*arguments, **options) -> float:
    term = pair_nce_loss(*arguments, **options)
    return float(term.sum / term.weight)


def log_sum_exp(values) -> float:
    values = np.asarray(values, np.float64)
    return float(values.max() + np.log(np.exp(values - values.max()).sum()))


def plain(first, second, first_exists, second_exists, temperature, margin=0.0) -> float:
    """Loops in float64 over the instances that exist; no score is lowered, none is computed."""
    sides = []
    for vectors, exists in ((first, first_exists), (second, second_exists)):
        unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        sides.append(
            [
                [v for v, e in zip(row, kept, strict=True) if e]
                for row, kept in zip(unit, exists, strict=True)
            ]
        )
    firsts, seconds = sides
    losses = []
    for i in range(len(firsts)):
        if not firsts[i] or not seconds[i]:
            continue

        def set_of(locals_, everyone, i=i):
            return [
                a @ b / temperature - (margin if i == j else 0.0)
                for a in locals_[i]
                for j in range(len(everyone))
                for b in everyone[j]
            ]

        positives = [a @ b / temperature - margin for a in firsts[i] for b in seconds[i]]
        both = log_sum_exp(set_of(firsts, seconds)) + log_sum_exp(set_of(seconds, firsts))
        losses.append(both / 2 - log_sum_exp(positives))
    return float(np.mean(losses)) if losses else 0.0


def masked_batch(dim=5):
    random, batch = np.random.default_rng(5), 8
    first, second = random.normal(size=(batch, 2, dim)), random.normal(size=(batch, 3, dim))
    first_exists = (random.uniform(size=(batch, 2)) < 0.7).astype(float)
    second_exists = (random.uniform(size=(batch, 3)) < 0.7).astype(float)
    first_exists[1], second_exists[4] = 0.0, 0.0
    first_exists[0], second_exists[0] = 1.0, 1.0
    return first, second, first_exists, second_exists


def constants(arrays):
    return [tf.constant(array, tf.float32) for array in arrays]


@pytest.mark.parametrize(
    ("instances", "margin", "expected"),
    [
        # Of 4 rows with equal vectors every set is 4 times as large as the positives.
        ((1, 1), 0.0, LN(4)),
        ((2, 3), 0.0, LN(4)),
        # Own pairs count exp(-1), the others 1 each.
        ((2, 3), 1.0, LN((3 + math.exp(-1)) / math.exp(-1))),
    ],
)
def test_equal_vectors(instances, margin, expected):
    first, second = tf.ones([4, instances[0], 3]), tf.ones([4, instances[1], 3])
    assert value(first, second, margin=margin) == pytest.approx(expected, abs=3e-6)


def test_two_orthogonal_pairs_and_their_temperature():
    vectors = tf.eye(2)
    for temperature in (0.07, 0.5, 1.0):
        expected = math.log1p(math.exp(-1 / temperature))
        got = value(vectors, 3.0 * vectors, temperature=tf.constant(temperature))
        assert got == pytest.approx(expected, abs=2e-6)


def test_one_right_instance_of_several_is_enough():
    """Two captions, the second of which is noise: (1/2)(ln(1 + 3/e) + ln(1 + 3/e))."""
    first = tf.eye(4)[:2, None]
    second = tf.stack([tf.eye(4)[:2], tf.eye(4)[2:]], axis=1)
    expected = LN((math.e + 3) / (math.e + 1)) / 2 + LN((math.e + 3) / (math.e + 1)) / 2
    assert value(first, second, temperature=1.0) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_equals_the_plain_form_with_every_mask(margin):
    first, second, first_exists, second_exists = masked_batch()
    arguments = constants((first, second))
    masks = dict(
        zip(("first_mask", "second_mask"), constants((first_exists, second_exists)), strict=True)
    )
    got = value(*arguments, **masks, temperature=0.2, margin=margin)
    expected = plain(first, second, first_exists, second_exists, 0.2, margin)
    assert got == pytest.approx(expected, rel=1e-5)
    swapped = {"first_mask": masks["second_mask"], "second_mask": masks["first_mask"]}
    back = value(*arguments[::-1], **swapped, temperature=0.2, margin=margin)
    assert back == pytest.approx(got, rel=1e-6)


def test_one_first_instance_is_half_the_symmetric_nce():
    first, second, _, second_exists = masked_batch()
    anchors, candidates, exists = constants((first[:, 0], second, second_exists))
    got = value(anchors, candidates, second_mask=exists, temperature=0.3)
    term = nce_loss(anchors, candidates, candidate_mask=exists, temperature=0.3, symmetric=True)
    assert got == pytest.approx(float(term.sum / term.weight) / 2, rel=1e-6)


@pytest.mark.parametrize("num_replicas", [2, 4])
def test_slices_with_gathered_negatives_add_up_to_one_device(num_replicas):
    everything = constants(masked_batch())

    def term(parts, gather):
        return pair_nce_loss(
            parts[0], parts[1], first_mask=parts[2], second_mask=parts[3], margin=0.2, gather=gather
        )

    def gather_of(slices, index):
        calls = iter((0, 2, 1, 3, None))

        def gather(values):
            which = next(calls)
            parts = []
            for one in slices:
                if which is None:
                    parts.append(tf.reduce_max(one[2], axis=1) * tf.reduce_max(one[3], axis=1))
                else:
                    unit = tf.math.l2_normalize(one[which], axis=-1)
                    parts.append(unit if which < 2 else one[which])
            np.testing.assert_allclose(parts[index], values, atol=1e-6, rtol=1e-4)
            return tf.concat(parts, axis=0)

        return gather

    with tf.GradientTape() as tape:
        tape.watch(everything[:2])
        whole = term(everything, lambda values: values)
        loss = whole.sum / whole.weight
    expected = tape.gradient(loss, everything[:2])
    with tf.GradientTape() as tape:
        tape.watch(everything[:2])
        slices = [
            [tf.split(values, num_replicas)[i] for values in everything]
            for i in range(num_replicas)
        ]
        terms = [term(part, gather_of(slices, index)) for index, part in enumerate(slices)]
        weight = tf.add_n([one.weight for one in terms])
        loss_of_slices = tf.add_n([one.sum for one in terms]) / weight
    got = tape.gradient(loss_of_slices, everything[:2])
    assert float(loss_of_slices) == pytest.approx(float(loss), rel=1e-6)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_masked_instances_and_zeros_give_and_get_no_gradient():
    first, second = (array[:4] for array in masked_batch()[:2])
    second[2] = 0.0  # An empty caption, as the model gives it.
    variables = [tf.Variable(tf.cast(array, tf.float32)) for array in (first, second)]
    masks = (
        tf.constant([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]),
        tf.constant([1.0, 1.0, 0.0, 1.0]),
    )
    with tf.GradientTape() as tape:
        term = pair_nce_loss(
            *variables, first_mask=masks[0], second_mask=masks[1], temperature=0.01, margin=0.5
        )
        loss = term.sum / term.weight
    first_gradient, second_gradient = (value.numpy() for value in tape.gradient(loss, variables))
    assert np.all(np.isfinite(first_gradient)) and np.all(np.isfinite(second_gradient))
    assert not np.any(first_gradient[1, 1]) and not np.any(second_gradient[2])
    assert float(term.rows[2]) == 0.0 and float(term.weight) == 4.0
    # Its caption is missing, but its picture is still nobody else's.
    assert np.any(first_gradient[2])


def test_a_batch_without_a_pair_has_no_loss():
    first, second = tf.ones([3, 2]), tf.ones([3, 2])
    assert value(first, second, second_mask=tf.zeros([3]), margin=0.3) == 0.0


def test_compiles_and_takes_half_precision():
    vectors = tf.random.stateless_normal([4, 2, 8], (5, 6))

    def loss(x):
        return pair_nce_loss(x, tf.reverse(x, [0]), temperature=tf.constant(0.1), margin=0.1).sum

    full = float(loss(vectors))
    assert float(tf.function(loss, jit_compile=True)(vectors)) == pytest.approx(full, rel=1e-5)
    half = loss(tf.cast(vectors, tf.bfloat16))
    assert half.dtype == tf.float32
    assert float(half) == pytest.approx(full, rel=0.05)
