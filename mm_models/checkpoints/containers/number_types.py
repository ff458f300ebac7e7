"""Types of numbers that weights may have, and whether so many of them fit into this machine."""

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import psutil

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def named(name: str) -> np.dtype:
    """The type of a name such as `float32` or `bfloat16`. Raises ValueError for what is none."""
    try:
        dtype = BFLOAT16 if name == "bfloat16" else np.dtype(name)
    except TypeError as error:
        raise ValueError(f"has numbers of the unknown type {name!r}") from error
    check(dtype)
    return dtype


def check(dtype: np.dtype) -> None:
    """Raises ValueError for a type that no weight has: text, objects, records, complex numbers."""
    if dtype != BFLOAT16 and dtype.kind not in "biuf":
        raise ValueError(f"has values of type {dtype}, which no weight has")


def check_memory(shape: Sequence[int], dtype: np.dtype) -> None:
    """Raises ValueError where an array is larger than this machine's memory."""
    size, memory = math.prod(shape) * dtype.itemsize, psutil.virtual_memory().total
    if size > memory:
        raise ValueError(
            f"has an array of {list(shape)}, {size / 1e9:.0f} GB, and this machine has "
            f"{memory / 1e9:.0f} GB of memory"
        )
