"""The loss of a batch: golden values, symmetry, masks, replicas."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.grounding.matching_loss import matching_terms
from tests.mm_models.grounding.test_pairwise import SHARPNESS, reference, unit

SCALE = 10.0


def terms(words, mask, regions, valid=None, gather=tf.identity, images_per_chunk=0):
    valid = np.ones(len(words), np.float32) if valid is None else valid
    return matching_terms(
        tf.constant(words),
        tf.constant(mask),
        tf.constant(regions),
        tf.constant(valid),
        sharpness=SHARPNESS,
        scale=SCALE,
        images_per_chunk=images_per_chunk,
        gather=gather,
    )


def a_batch(rows, seed=0):
    random = np.random.default_rng(seed)
    words, regions = unit(random, rows, 3, 8), unit(random, rows, 5, 2, 8)
    mask = np.float32(np.arange(3) < random.integers(1, 4, size=(rows, 1)))
    return words, mask, regions


def both_directions(scores):
    """Mean cross-entropies of the diagonal of [pictures, sentences], in float64."""
    normalized = [scores - np.log(np.exp(scores).sum(axis=axis, keepdims=True)) for axis in (0, 1)]
    return [-np.diag(one).mean() for one in normalized]


def test_identical_pairs_cost_twice_the_log_of_their_number():
    """A branch of a batch of equal pairs: 2 ln B; both branches of 32 are 13.862944."""
    words, mask, regions = (np.repeat(one[:1], 32, axis=0) for one in a_batch(1))
    found = terms(words, mask, regions)
    assert 2 * float(found.loss / found.weight) == pytest.approx(13.862944, rel=1e-6)


def test_both_directions_equal_numpy():
    words, mask, regions = a_batch(6)
    found = terms(words, mask, regions)
    expected = both_directions(SCALE * reference(words, mask, regions))
    assert float(found.loss / found.weight) == pytest.approx(sum(expected), rel=1e-5)
    swapped = both_directions((SCALE * reference(words, mask, regions)).T)
    np.testing.assert_allclose(swapped, expected[::-1], rtol=1e-12)


def test_perfect_scores_are_finite():
    """Pairs that score 1 and 0 elsewhere, at a scale at which their exponentials overflow."""
    eye = np.eye(4, dtype=np.float32)
    found = matching_terms(
        eye[:, None],
        np.ones((4, 1), np.float32),
        tf.constant(eye[:, None, None]),
        tf.ones(4),
        sharpness=SHARPNESS,
        scale=1000.0,
        images_per_chunk=0,
        gather=tf.identity,
    )
    assert float(found.loss) == pytest.approx(0.0, abs=1e-3)


def test_rows_that_do_not_count_are_not_there():
    words, mask, regions = a_batch(5)
    kept = [0, 2, 3]
    valid = np.float32([1, 0, 1, 1, 0])
    masked, alone = (
        terms(words, mask, regions, valid),
        terms(words[kept], mask[kept], regions[kept]),
    )
    assert float(masked.loss) == pytest.approx(float(alone.loss), rel=1e-5)
    assert float(masked.weight) == 3.0


@pytest.mark.parametrize("images_per_chunk", [0, 2])
def test_replicas_learn_what_one_device_learns(images_per_chunk):
    """Loss and gradients of 2 x 3 rows, two of which do not count, equal those of 6."""
    words, mask, regions = a_batch(6, seed=3)
    valid = np.float32([1, 1, 0, 1, 1, 0])

    def loss_and_gradients(function):
        sides = tf.constant(words), tf.constant(regions)
        with tf.GradientTape() as tape:
            tape.watch(sides)
            loss, weight = function(*sides)
            mean = loss / weight
        return mean.numpy(), [one.numpy() for one in tape.gradient(mean, sides)]

    def together(words, regions):
        found = matching_terms(
            words, tf.constant(mask), regions, tf.constant(valid), sharpness=SHARPNESS,
            scale=SCALE, images_per_chunk=images_per_chunk, gather=tf.identity,
        )  # fmt: skip
        return found.loss, found.weight

    def apart(words, regions):
        """Both replicas in one process: what one gathers, the other has given."""
        halves = [slice(0, 3), slice(3, 6)]
        sides = [
            (words[half], tf.constant(mask[half]), regions[half], tf.constant(valid[half]))
            for half in halves
        ]
        everything = [tf.concat([one[place] for one in sides], axis=0) for place in (0, 1, 3)]
        normalizers = []

        def run(side, last):
            answers = iter([*everything, last])
            return matching_terms(
                *side, sharpness=SHARPNESS, scale=SCALE, images_per_chunk=images_per_chunk,
                gather=lambda own: normalizers.append(own) or next(answers),
            )  # fmt: skip

        for side in sides:
            run(side, tf.zeros([2, 6]))
        parts = tf.concat(normalizers[3::4], axis=0)
        found = [run(side, parts) for side in sides]
        return tf.add_n([one.loss for one in found]), tf.add_n([one.weight for one in found])

    alone, split = loss_and_gradients(together), loss_and_gradients(apart)
    assert split[0] == pytest.approx(alone[0], rel=1e-5)
    for one, other in zip(split[1], alone[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
