"""Codes by hand, gradients by their rules, averages and restarts against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.quantization.quantizer_options import QuantizerOptions, check_options
from mm_models.layers.quantization.vector_quantizer import VectorQuantizer
from tests import batteries

UNIT = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)


def _quantizer(codes, **options):
    options = {"similarity_dropout_rate": 0.0, **options}
    layer = VectorQuantizer(QuantizerOptions(num_codes=len(codes), **options))
    layer.build((None, codes.shape[1]))
    layer.embeddings.assign(codes)
    return layer


def test_the_case_by_hand():
    quantized = _quantizer(UNIT)(tf.constant([[3.0, 1.0], [0.0, 2.0]]))
    assert quantized.ids.numpy().tolist() == [0, 1]
    np.testing.assert_allclose(quantized.scores, [0.948683, 1.0], atol=1e-6)
    loss = tf.reduce_mean(quantized.codebook_error + 0.25 * quantized.commitment_error)
    assert float(loss) == pytest.approx(1.875)
    np.testing.assert_array_equal(quantized.values, UNIT)
    assert quantized.use is None


def test_the_nearest_by_distance_is_not_the_nearest_by_angle():
    codes = np.array([[10.0, 0.0], [0.5, 1.0]], np.float32)
    vectors = tf.constant([[1.0, 0.3]])
    assert _quantizer(codes)(vectors).ids.numpy().tolist() == [0]
    nearest = _quantizer(codes, assignment="l2")(vectors)
    assert nearest.ids.numpy().tolist() == [1]
    np.testing.assert_allclose(nearest.scores, [-(0.5**2 + 0.7**2)], atol=1e-5)


def test_each_error_moves_its_own_side_and_values_let_gradients_through():
    layer = _quantizer(UNIT)
    vectors = tf.Variable([[3.0, 1.0], [0.0, 2.0]])

    def gradients(of):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(of(layer(vectors)))
        return tape.gradient(value, [vectors, layer.embeddings.value])

    of_vectors, of_codes = gradients(lambda one: one.codebook_error)
    assert of_vectors is None
    np.testing.assert_allclose(of_codes, [[-2.0, -1.0], [0.0, -1.0]])
    of_vectors, of_codes = gradients(lambda one: one.commitment_error)
    np.testing.assert_allclose(of_vectors, [[2.0, 1.0], [0.0, 1.0]])
    assert of_codes is None
    of_vectors, of_codes = gradients(lambda one: one.values * [[2.0, 3.0], [4.0, 5.0]])
    np.testing.assert_allclose(of_vectors, [[2.0, 3.0], [4.0, 5.0]])
    assert of_codes is None


def test_dropped_cosines_choose_other_codes_in_training_only():
    random = np.random.default_rng(0)
    vectors = tf.constant(random.normal(size=(4, 500, 6)), tf.float32)
    codes = random.normal(size=(20, 6)).astype(np.float32)
    layer = _quantizer(codes, similarity_dropout_rate=0.4)
    plain = layer(vectors)
    drawn = layer(vectors, training=True, seed=batteries.seed())
    same = np.mean(plain.ids.numpy() == drawn.ids.numpy())
    # The best of 20 stays where it is not dropped.
    assert 0.55 < same < 0.66
    kept = plain.ids.numpy() == drawn.ids.numpy()
    ratio = drawn.scores.numpy()[kept] / plain.scores.numpy()[kept]
    np.testing.assert_allclose(ratio, 1 / 0.6, rtol=1e-5)
    again = layer(vectors, training=True, seed=batteries.seed())
    np.testing.assert_array_equal(drawn.ids, again.ids)


def test_masked_vectors_do_not_count():
    layer = _quantizer(UNIT, learning="moving_average")
    vectors = tf.constant([[[3.0, 1.0], [0.0, 2.0], [5.0, 0.0]]])
    mask = tf.constant([[1.0, 1.0, 0.0]])
    use = layer(vectors, counted=mask, training=True, seed=batteries.seed()).use
    np.testing.assert_allclose(use.counts, [1.0, 1.0])
    np.testing.assert_allclose(use.sums, [[3.0, 1.0], [0.0, 2.0]])


def test_moving_averages_equal_numpy():
    random = np.random.default_rng(1)
    codes = random.normal(size=(5, 3)).astype(np.float32)
    layer = _quantizer(codes, learning="moving_average", assignment="l2", decay=0.8)
    assert not layer.trainable_weights
    counts, sums, usage = np.zeros(5), np.zeros((5, 3)), np.full(5, 0.2)
    for _ in range(3):
        vectors = random.normal(size=(40, 3)).astype(np.float32)
        quantized = layer(tf.constant(vectors), training=True, seed=batteries.seed())
        ids = np.argmin(np.sum((vectors[:, None] - codes[None]) ** 2, axis=-1), axis=1)
        np.testing.assert_array_equal(quantized.ids, ids)
        assert float(tf.reduce_sum(quantized.codebook_error)) == 0.0
        layer.update(quantized.use)
        taken = np.eye(5)[ids]
        counts = 0.8 * counts + 0.2 * taken.sum(0)
        sums = 0.8 * sums + 0.2 * taken.T @ vectors
        usage = 0.8 * usage + 0.2 * taken.mean(0)
        codes = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1e-9)[:, None], codes)
        np.testing.assert_allclose(layer.embeddings, codes, atol=1e-5)
        np.testing.assert_allclose(layer.usage, usage, atol=1e-6)
    entropy = -np.sum(usage * np.log(usage))
    assert float(layer.perplexity()) == pytest.approx(np.exp(entropy), rel=1e-5)


@pytest.mark.parametrize("learning", ["gradient", "moving_average"])
def test_codes_that_nothing_takes_become_vectors_of_the_batch(learning):
    random = np.random.default_rng(2)
    codes = np.concatenate([np.eye(4)[:2] * 9, -np.ones((3, 4))]).astype(np.float32)
    layer = _quantizer(codes, learning=learning, assignment="l2", decay=0.5, restart_share=0.4)
    vectors = np.abs(random.normal(size=(30, 4))).astype(np.float32) + np.eye(4)[0] * 5
    mask = tf.constant(np.arange(30) < 10, tf.float32)
    for _ in range(4):
        quantized = layer(
            tf.constant(vectors, tf.float32), counted=mask, training=True, seed=(1, 2)
        )
        layer.update(quantized.use)
    dead = {2, 3, 4} - set(quantized.ids.numpy().tolist())
    for index in range(2, 5):
        distance = np.min(np.abs(vectors[:10] - layer.embeddings.numpy()[index]).max(axis=1))
        # A vector that counts, or what averages made of it since.
        assert distance < (1e-6 if index in dead and learning == "gradient" else 1.0)
    assert np.min(layer.embeddings.numpy()[2:]) >= 0.0


def test_replicas_update_as_one_device_does():
    random = np.random.default_rng(3)
    codes = random.normal(size=(6, 3)).astype(np.float32)
    vectors = tf.constant(random.normal(size=(8, 3)), tf.float32)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    options = {"learning": "moving_average", "assignment": "l2", "decay": 0.5}
    with strategy.scope():
        layer = _quantizer(codes, **options)
    single = _quantizer(codes, **options)
    single.update(single(vectors, training=True, seed=batteries.seed()).use)

    @tf.function
    def step():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.slice(vectors, [index * 4, 0], [4, 3])
            layer.update(layer(mine, training=True, seed=batteries.seed()).use)

        strategy.run(replica)

    step()
    for mine, theirs in zip(layer.weights, single.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_battery():
    make = lambda dtype: VectorQuantizer(QuantizerOptions(num_codes=7), dtype=dtype)  # noqa: E731
    inputs = {"vectors": tf.random.stateless_normal([3, 5, 4], (1, 1))}

    def call(layer, vectors, **options):
        quantized = layer(vectors, **options)
        return quantized.values, quantized.codebook_error, quantized.commitment_error

    batteries.check_layer(make, inputs, call=call, draws=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_codes": 0}, "quantizer.num_codes is 0"),
        ({"assignment": "dot"}, "quantizer.assignment is 'dot'"),
        ({"learning": "none"}, "quantizer.learning is 'none'"),
        ({"decay": 1.0}, "quantizer.decay is 1.0"),
        ({"commitment_weight": -1.0}, "quantizer.commitment_weight is -1.0"),
        ({"assignment": "l2"}, "but distances are not dropped"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        check_options(QuantizerOptions(**changes), "quantizer")
