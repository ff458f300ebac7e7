"""Classification scores in NumPy: top-k, average precision, area under ROC, d-prime."""

import math
import statistics

import numpy as np


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Share of rows whose true class is among the `k` highest scores; ties are misses.

    Args:
        scores: float[examples, classes]; NaN counts as higher than anything.
        labels: int[examples] true classes.
        k: how many classes may be named.
    """
    if not len(labels):
        return 0.0
    scores = np.asarray(scores, np.float64)
    rows = np.arange(len(labels))
    own = scores[rows, labels][:, None]
    not_worse = ~(scores < own)
    not_worse[rows, labels] = True
    return float(np.mean(not_worse.sum(axis=1) <= k))


def average_precision(scores: np.ndarray, positives: np.ndarray) -> float:
    """Area under the precision-recall steps of one class; tied scores enter together.

    Args:
        scores: float[examples].
        positives: bool[examples].

    Returns:
        NaN when the class has no positive example.
    """
    positives = np.asarray(positives, bool)
    if not positives.any():
        return float("nan")
    hits, seen = _counts_at_thresholds(scores, positives)
    gained = np.diff(hits, prepend=0)
    return float(np.sum(gained * hits / seen) / positives.sum())


def roc_auc(scores: np.ndarray, positives: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half.

    Args:
        scores: float[examples].
        positives: bool[examples].

    Returns:
        NaN unless both positives and negatives are present.
    """
    positives = np.asarray(positives, bool)
    num_positives, num_negatives = int(positives.sum()), int((~positives).sum())
    if not num_positives or not num_negatives:
        return float("nan")
    hits, seen = _counts_at_thresholds(scores, positives)
    true_rate = np.concatenate([[0.0], hits / num_positives])
    false_rate = np.concatenate([[0.0], (seen - hits) / num_negatives])
    return float(np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2))


def d_prime(auc: float) -> float:
    """Separation of two unit normals with this area under ROC: sqrt(2) * inverse normal CDF.

    An area of exactly 0 or 1 gives minus or plus infinity; NaN stays NaN.
    """
    if math.isnan(auc):
        return auc
    if auc in (0.0, 1.0):
        return math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2.0) * statistics.NormalDist().inv_cdf(auc)


def multi_label_scores(scores: np.ndarray, positives: np.ndarray) -> dict[str, float]:
    """mAP, AUC and d-prime, each computed per class and then averaged (VATT, appendix A.3).

    Classes without a positive (or, for AUC, without a negative) example are left out of the mean.

    Args:
        scores: float[examples, classes].
        positives: bool[examples, classes].
    """
    each = [class_scores(scores[:, c], positives[:, c]) for c in range(scores.shape[1])]
    return {
        "map": _mean_of_known([row["average_precision"] for row in each]),
        "auc": _mean_of_known([row["auc"] for row in each]),
        "d_prime": _mean_of_known([row["d_prime"] for row in each]),
    }


def class_scores(scores: np.ndarray, positives: np.ndarray) -> dict[str, float]:
    """`average_precision`, `auc` and `d_prime` of one class; NaN where one does not exist.

    Args:
        scores: float[examples].
        positives: bool[examples].
    """
    area = roc_auc(scores, positives)
    precision = average_precision(scores, positives)
    return {"average_precision": precision, "auc": area, "d_prime": d_prime(area)}


def _counts_at_thresholds(scores: np.ndarray, positives: np.ndarray) -> tuple:
    """Positives and examples at or above each distinct score, from the highest score down."""
    scores = np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    return np.cumsum(positives[order])[ends], ends + 1


def _mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
