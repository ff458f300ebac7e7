"""Where the regions of a regular grid lie. NumPy only."""

import numpy as np


def grid_positions(num_steps: int, rows: int, columns: int) -> np.ndarray:
    """Where the regions of a regular grid lie.

    Args:
        num_steps: steps of the clip.
        rows, columns: of a step.

    Returns:
        float32[num_steps, rows, columns, 5]: t, x0, x1, y0, y1; t counts the steps from 0, and the
        others are shares of the width and height.

    Source: R3 Transformer and its code (position columns of the stored features).
    """
    t, y, x = np.indices((num_steps, rows, columns), dtype=np.float64)
    edges = (t, x / columns, (x + 1) / columns, y / rows, (y + 1) / rows)
    return np.stack(edges, axis=-1).astype(np.float32)
