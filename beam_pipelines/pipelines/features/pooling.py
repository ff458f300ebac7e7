"""Feature maps of any size → the regions that records hold."""

import numpy as np

# Windows side by side leave out the end of a map; more than this share of it counts as lost.
_MOST_LEFT_OUT = 1 / 7


def windows(size: int, count: int) -> list[tuple[int, int]]:
    """First and last-but-one cell of each of `count` windows over `size` cells in a row.

    Windows of `size // count` cells side by side, where those leave out no more than a seventh of
    the cells, at the end: 7 cells become 3 windows of 2, as with 2 x 2 pooling of stride 2. Else
    windows that overlap and leave out none: the i-th goes from floor(i * size / count) to
    ceil((i + 1) * size / count).

    Raises:
        ValueError: there are fewer cells than windows.
    """
    if count > size:
        raise ValueError(f"{size} cells do not give {count} windows")
    width = size // count
    if size - width * count <= size * _MOST_LEFT_OUT:
        return [(place * width, (place + 1) * width) for place in range(count)]
    edges = [(place * size / count, (place + 1) * size / count) for place in range(count)]
    return [(int(np.floor(start)), int(np.ceil(end))) for start, end in edges]


def pool_maps(maps: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Averages over windows of cells; see `windows`.

    Args:
        maps: float32[batch, height, width, dim].
        rows, columns: regions wanted.

    Returns:
        float32[batch, rows, columns, dim].

    Raises:
        ValueError: the maps are smaller.
    """
    _, height, width, _ = maps.shape
    across = windows(width, columns)
    strips = [maps[:, start:end].mean(axis=1) for start, end in windows(height, rows)]
    # [batch, width, dim] per row -> [batch, rows, columns, dim]
    regions = [[strip[:, start:end].mean(axis=1) for start, end in across] for strip in strips]
    return np.stack([np.stack(row, axis=1) for row in regions], axis=1).astype(np.float32)
