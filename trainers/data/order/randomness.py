"""Counter-based random numbers: integers in, hashes out, no state. Imports no TensorFlow."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


def hash64(*parts: int | np.ndarray) -> np.ndarray:
    """Mixes integers (or broadcastable arrays of them) into uint64 values, SplitMix64 style.

    Args:
        parts: integers; negative ones count modulo 2**64.
    """
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = splitmix(state ^ _as_uint64(part))
    return state


def _as_uint64(value: int | np.ndarray) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value.astype(np.uint64)
    return np.asarray(int(value) % 2**64, np.uint64)


def splitmix(state: np.ndarray) -> np.ndarray:
    """One step of the SplitMix64 generator: uint64[...] to uint64[...], a bijection."""
    state = state + GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _MIX_A
    state = (state ^ (state >> np.uint64(27))) * _MIX_B
    return state ^ (state >> np.uint64(31))


def uniform(hashes: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from the upper 53 bits of `hashes: uint64[...]`."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def example_draws(seed: int, step: int, positions: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers that decide each example's sampling and augmentation.

    Args:
        seed: experiment seed.
        step: training step.
        positions: int64[examples] places in the global batch.
        count: numbers per example, one per purpose.

    Returns:
        float32[examples, count] in [0, 1).
    """
    hashes = hash64(seed, -1, step, positions[:, np.newaxis], np.arange(count))
    # 24 bits, so that rounding to float32 never gives 1.
    return (hashes >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def example_seeds(seed: int, step: int, positions: np.ndarray) -> np.ndarray:
    """int32[examples, 2] seeds for stateless ops, a function of (seed, step, position)."""
    hashes = hash64(seed, -2, step, positions)
    return hashes.astype(np.uint64).view(np.int32).reshape(len(positions), 2)
