"""NCE and MIL-NCE: values by hand, a plain NumPy form, masks, replicas."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.losses.contrastive import nce_loss

LN = math.log


ONCE, TWICE = {"denominator": "positives_once"}, {"denominator": "positives_twice"}
SYMMETRIC = {"symmetric": True}


def value(*arguments, **options) -> float:
    term = nce_loss(*arguments, **options)
    return float(term.sum / term.weight)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # One pair of score 1/t and two of score 0 around it; the second form has the first twice.
        (ONCE, math.log1p(2 * math.exp(-1 / 0.07))),
        (TWICE, 0.693148),
        (SYMMETRIC, 2 * math.log1p(math.exp(-1 / 0.07))),
    ],
)
def test_two_orthogonal_pairs(form, expected):
    vectors = tf.eye(2)
    assert value(vectors, 3.0 * vectors, **form) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("candidates", [1, 5])
@pytest.mark.parametrize(
    ("mask", "once", "twice", "symmetric"),
    [
        # Four pairs of the row and four of the column are eight, or seven different ones.
        (None, LN(7), LN(8), 2 * LN(4)),
        ([1.0, 1.0, 0.0, 0.0], LN(5), LN(6), LN(2) + LN(4)),
        ([0.0, 0.0, 0.0, 0.0], 0.0, 0.0, 0.0),
    ],
)
def test_equal_vectors(candidates, mask, once, twice, symmetric):
    anchors, partners = tf.ones([4, 3]), tf.ones([4, candidates, 3])
    mask = None if mask is None else tf.constant(mask)
    for form, expected in ((ONCE, once), (TWICE, twice), (SYMMETRIC, symmetric)):
        got = value(anchors, partners, anchor_mask=mask, **form)
        assert got == pytest.approx(expected, abs=3e-6), form
    assert value(anchors, partners, anchor_mask=mask) == pytest.approx(once, abs=3e-6)


def test_a_learned_pair_leaves_nothing_only_where_it_counts_once():
    apart = tf.eye(3)
    assert value(apart, apart, temperature=0.01, **ONCE) == pytest.approx(0.0, abs=1e-6)
    assert value(apart, apart, temperature=0.01, **TWICE) == pytest.approx(LN(2), abs=1e-6)


def test_total_of_audio_and_masked_text():
    ones = tf.ones([4, 2])
    for mask, expected in (([1.0, 1.0, 0.0, 0.0], 1.935600), ([0.0] * 4, 1.039721)):
        audio = nce_loss(ones, ones, **TWICE)
        text = nce_loss(ones, ones, anchor_mask=tf.constant(mask), **TWICE)
        assert float(audio.weight) == float(text.weight) == 4.0
        total = float((audio.sum + text.sum) / 2.0 / audio.weight)
        assert total == pytest.approx(expected, abs=3e-6)


def log_sum_exp(values) -> float:
    values = np.asarray(values, np.float64)
    return float(values.max() + np.log(np.exp(values - values.max()).sum()))


def plain(anchors, partners, valid, exists, serves, temperature, form) -> float:
    """Loops in float64 that leave masked pairs out instead of lowering their scores."""
    anchors = anchors / np.linalg.norm(anchors, axis=-1, keepdims=True)
    partners = partners / np.linalg.norm(partners, axis=-1, keepdims=True)
    batch, candidates = exists.shape
    valid = valid * exists.max(axis=1)
    losses = []
    for i in range(batch):
        if not valid[i]:
            continue
        own = [c for c in range(candidates) if exists[i, c]]
        positives = [anchors[i] @ partners[i, c] / temperature for c in own]
        to_candidates = [
            anchors[i] @ partners[j, c] / temperature
            for j in range(batch)
            for c in range(candidates)
            if valid[j] and exists[j, c]
        ]
        to_anchors = [
            anchors[j] @ partners[i, c] / temperature
            for j in range(batch)
            for c in own
            if serves[j] and (j != i or form != ONCE)
        ]
        if form == SYMMETRIC:
            sets = log_sum_exp(to_candidates) + log_sum_exp(to_anchors)
            losses.append(sets - 2 * log_sum_exp(positives))
        else:
            losses.append(log_sum_exp(to_candidates + to_anchors) - log_sum_exp(positives))
    return float(np.mean(losses)) if losses else 0.0


def masked_batch(batch=8, candidates=3, dim=5):
    random = np.random.default_rng(11)
    anchors = random.normal(size=(batch, dim))
    partners = random.normal(size=(batch, candidates, dim))
    valid = np.array([1, 1, 0, 1, 1, 1, 0, 0.0])[:batch]
    exists = (random.uniform(size=(batch, candidates)) < 0.7).astype(float)
    exists[3] = 0.0
    serves = np.array([1, 1, 1, 1, 1, 1, 0, 1.0])[:batch]
    return anchors, partners, valid, exists, serves


@pytest.mark.parametrize("form", [ONCE, TWICE, SYMMETRIC], ids=str)
def test_equals_the_plain_form_with_every_mask(form):
    anchors, partners, valid, exists, serves = masked_batch()
    serves[1] = 0.0  # A valid row whose anchor serves nobody, itself included.
    got = value(
        tf.constant(anchors, tf.float32),
        tf.constant(partners, tf.float32),
        anchor_mask=tf.constant(valid),
        candidate_mask=tf.constant(exists),
        negative_mask=tf.constant(serves),
        temperature=0.2,
        **form,
    )
    expected = plain(anchors, partners, valid, exists, serves, 0.2, form)
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", [ONCE, TWICE, SYMMETRIC], ids=str)
@pytest.mark.parametrize("num_replicas", [2, 4])
def test_slices_with_gathered_negatives_add_up_to_one_device(form, num_replicas):
    anchors, partners, valid, exists, serves = masked_batch()
    everything = [
        tf.constant(array, tf.float32) for array in (anchors, partners, valid, exists, serves)
    ]

    def term(parts, gather):
        return nce_loss(
            parts[0],
            parts[1],
            anchor_mask=parts[2],
            candidate_mask=parts[3],
            negative_mask=parts[4],
            gather=gather,
            **form,
        )

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
        # What gather is called with tells which array it is: its shape, and the order of calls.
        terms = [term(part, gather_of(slices, index)) for index, part in enumerate(slices)]
        weight = tf.add_n([one.weight for one in terms])
        loss_of_slices = tf.add_n([one.sum for one in terms]) / weight
    got = tape.gradient(loss_of_slices, everything[:2])
    assert float(loss_of_slices) == pytest.approx(float(loss), rel=1e-6)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def gather_of(slices, index):
    """An all-gather for replica `index`: repeats its local arithmetic for every replica's part."""
    calls = iter(("anchors", "candidates", "negatives", "shared", "valid"))

    def parts(name):
        for anchors, partners, valid, exists, serves in slices:
            row_valid = valid * tf.reduce_max(exists, axis=1)
            yield {
                "anchors": lambda a=anchors: tf.math.l2_normalize(a, axis=-1),
                "candidates": lambda p=partners: tf.math.l2_normalize(p, axis=-1),
                "negatives": lambda s=serves: s,
                "shared": lambda e=exists, v=row_valid: e * v[:, None],
                "valid": lambda v=row_valid: v,
            }[name]()

    def gather(values):
        gathered = list(parts(next(calls)))
        np.testing.assert_allclose(gathered[index], values, atol=1e-6, rtol=1e-4)
        return tf.concat(gathered, axis=0)

    return gather


@pytest.mark.parametrize("form", [ONCE, TWICE], ids=str)
def test_masked_rows_get_no_gradient_and_give_none(form):
    anchors = tf.Variable(tf.random.stateless_normal([4, 3], (1, 2)))
    partners = tf.Variable(tf.random.stateless_normal([4, 2, 3], (3, 4)))
    mask = tf.constant([1.0, 1.0, 0.0, 1.0])
    with tf.GradientTape() as tape:
        term = nce_loss(anchors, partners, anchor_mask=mask, negative_mask=mask, **form)
        loss = term.sum / term.weight
    anchor_gradient, partner_gradient = tape.gradient(loss, [anchors, partners])
    assert not np.any(anchor_gradient[2]) and not np.any(partner_gradient[2])
    assert np.all(np.any(anchor_gradient.numpy()[[0, 1, 3]], axis=1))


def test_compiles_and_takes_half_precision():
    vectors = tf.random.stateless_normal([4, 8], (5, 6))

    def loss(x):
        return nce_loss(x, tf.reverse(x, [0]), temperature=tf.constant(0.1)).sum

    full = float(loss(vectors))
    assert float(tf.function(loss, jit_compile=True)(vectors)) == pytest.approx(full, rel=1e-5)
    half = loss(tf.cast(vectors, tf.bfloat16))
    assert half.dtype == tf.float32
    assert float(half) == pytest.approx(full, rel=0.05)
