"""Arrays of strings."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def object_array(values: Sequence[Any]) -> np.ndarray:
    """object[len(values)] without NumPy looking inside the values."""
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def text_array(texts: Sequence[str]) -> np.ndarray:
    """object[len(texts)] of their UTF-8 bytes."""
    return object_array([text.encode() for text in texts])
