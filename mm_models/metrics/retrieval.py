"""Retrieval scores in NumPy: ranks, recall at k, median rank."""

from collections.abc import Sequence

import numpy as np

TIE_TOLERANCE = 1e-6


def own_ranks(
    similarities: np.ndarray, own_items: np.ndarray, *, tie_tolerance: float = TIE_TOLERANCE
) -> np.ndarray:
    """Rank of each query's own item, 1 being best; ties count against the query.

    Args:
        similarities: float[queries, gallery] larger is nearer; NaN counts as nearer than anything.
        own_items: int[queries] gallery index of the only right answer of each query.
        tie_tolerance: similarities closer than this are ties, so that two equal captions whose
            embeddings differ by rounding do not rank each other at random.

    Returns:
        int64[queries] in 1..gallery. A constant similarity matrix gives rank `gallery` everywhere.
    """
    similarities = np.asarray(similarities, np.float64)
    own_items = np.asarray(own_items, np.int64)
    own = similarities[np.arange(len(own_items)), own_items][:, None]
    clearly_worse = similarities < own - tie_tolerance
    not_worse = ~clearly_worse
    not_worse[np.arange(len(own_items)), own_items] = True
    return not_worse.sum(axis=1).astype(np.int64)


def recall_at(ranks: np.ndarray, k: int) -> float:
    """Share of queries whose rank is at most `k`; 0 without queries."""
    return float(np.mean(np.asarray(ranks) <= k)) if len(ranks) else 0.0


def median_rank(ranks: np.ndarray) -> float:
    """Median of 1-based ranks; infinity without queries."""
    return float(np.median(ranks)) if len(ranks) else float("inf")


def retrieval_scores(
    similarities: np.ndarray, own_items: np.ndarray, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Recall at each k and the median rank (VATT, section 4.1: R@k and MedR).

    Args:
        similarities: float[queries, gallery].
        own_items: int[queries].
        ks: cut-offs.

    Returns:
        `{"r1": ..., "r5": ..., "r10": ..., "median_rank": ...}` with recalls in [0, 1].
    """
    ranks = own_ranks(similarities, own_items)
    scores = {f"r{k}": recall_at(ranks, k) for k in ks}
    return scores | {"median_rank": median_rank(ranks)}


def cosine_similarities(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosines between rows.

    Args:
        queries: float[queries, dim], need not be normalised.
        gallery: float[gallery, dim], need not be normalised.

    Returns:
        float64[queries, gallery]; rows of zeros have cosine 0 with everything.
    """
    return l2_normalize(queries) @ l2_normalize(gallery).T


def l2_normalize(vectors: np.ndarray, *, epsilon: float = 1e-12) -> np.ndarray:
    """Rows scaled to length 1; float[..., dim] → float64[..., dim], zero rows stay zero."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), epsilon)
