"""How much two things that are counted together tell of each other."""

import numpy as np


def mutual_information(counts: np.ndarray) -> float:
    """Bits that each of two names tells of the other, as the counts have it.

    Few counts in many cells seem to tell something of each other where they do not; compare with
    the same counts after one side was shuffled.

    Args:
        counts: float[a, b] how often the names of a row and of a column came together.
    """
    joint = np.asarray(counts, np.float64)
    joint = joint / max(joint.sum(), 1e-300)
    there = joint > 0
    return float(np.sum(joint[there] * pointwise_information(counts)[there]))


def pointwise_information(counts: np.ndarray) -> np.ndarray:
    """float64[a, b]: bits by which a row's name makes a column's likelier; -inf where the two never
    came together."""
    counts = np.asarray(counts, np.float64)
    rows, columns = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
    with np.errstate(divide="ignore"):
        apart = np.log2(rows) + np.log2(columns)
        bits = np.log2(counts) + np.log2(counts.sum()) - np.where(counts > 0, apart, 0.0)
    return np.where(counts > 0, bits, -np.inf)


def perplexity(counts: np.ndarray) -> float:
    """How many names, used alike, would have the entropy of these counts: float[names]."""
    counts = np.asarray(counts, np.float64)
    share = counts[counts > 0] / max(counts.sum(), 1e-300)
    return float(np.exp(-np.sum(share * np.log(share)))) if len(share) else 0.0


def pair_counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float64[shape]: how often each number of `rows` stands where each of `columns` does.

    Args:
        rows, columns: int[count].
        shape: how many numbers there are of each.
    """
    places = np.asarray(rows, np.int64) * shape[1] + columns
    return np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
