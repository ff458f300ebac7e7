"""Named random streams: what a clip is must depend on nothing but (seed, split, index)."""

import zlib

import numpy as np

from beam_pipelines.sources.digits.config import SPLITS


def clip_random(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """Generator of one clip and purpose.

    A stream per purpose keeps the rest of a clip as it is when one flag changes: a corpus with
    noise in its captions has the very videos of the clean one.
    """
    entropy = [seed, SPLITS.index(split), index, zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def choose(random: np.random.Generator, options: tuple | list):
    """One of `options`, uniformly, as the object itself and not as a NumPy value."""
    return options[int(random.integers(len(options)))]
