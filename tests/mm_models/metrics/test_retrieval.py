import numpy as np
import pytest

from mm_models.metrics import retrieval


def test_hand_case():
    similarities = np.array(
        [
            [0.9, 0.1, 0.2, 0.3],  # own item 0 first
            [0.5, 0.4, 0.6, 0.1],  # own item 1 third
            [0.1, 0.2, 0.3, 0.9],  # own item 2 second
            [0.9, 0.8, 0.7, 0.1],  # own item 3 fourth
        ]
    )
    own = np.arange(4)
    np.testing.assert_array_equal(retrieval.own_ranks(similarities, own), [1, 3, 2, 4])
    scores = retrieval.retrieval_scores(similarities, own, ks=(1, 2, 10))
    assert scores == {"r1": 0.25, "r2": 0.5, "r10": 1.0, "median_rank": 2.5}


def test_ties_and_near_ties_are_misses():
    similarities = np.array([[0.5, 0.5, 0.1], [0.2, 0.3, 0.3 + 1e-8], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(retrieval.own_ranks(similarities, np.arange(3)), [2, 2, 3])


def test_collapsed_embeddings_never_score():
    vectors = np.ones((50, 8))
    scores = retrieval.retrieval_scores(
        retrieval.cosine_similarities(vectors, vectors), np.arange(50)
    )
    assert scores == {"r1": 0.0, "r5": 0.0, "r10": 0.0, "median_rank": 50.0}


def test_nan_is_the_worst_rank():
    similarities = np.array([[np.nan, 0.1, 0.2], [np.nan, 0.9, 0.2]])
    np.testing.assert_array_equal(retrieval.own_ranks(similarities, np.array([0, 1])), [3, 2])


def test_several_queries_may_share_an_item():
    similarities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.1]])
    np.testing.assert_array_equal(retrieval.own_ranks(similarities, [0, 0, 0]), [1, 2, 1])


def test_random_embeddings_are_at_chance():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(4000, 16)), rng.normal(size=(100, 16))
    own = rng.integers(0, 100, size=4000)
    scores = retrieval.retrieval_scores(retrieval.cosine_similarities(queries, gallery), own)
    assert scores["r10"] == pytest.approx(0.10, abs=0.02)
    assert scores["median_rank"] == pytest.approx(50.5, abs=3)


def test_cosine_ignores_length_and_survives_zeros():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        retrieval.cosine_similarities(vectors, np.array([[6.0, 8.0], [4.0, -3.0]])),
        [[1.0, 0.0], [0.0, 0.0]],
        atol=1e-12,
    )
