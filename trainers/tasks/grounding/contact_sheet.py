"""Pictures with words under them, in rows on one sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from trainers.evaluation.pictures import drawing

CELL_PIXELS = 192
COLUMNS = 5


def contact_sheet(cells: Sequence[tuple[np.ndarray, Sequence[str]]]) -> np.ndarray:
    """The sheet.

    Args:
        cells: pictures uint8[height, width, 3], which are enlarged, each with lines of text.

    Returns:
        uint8[height, width, 3].
    """
    drawn = [drawing.under(_enlarged(picture), lines) for picture, lines in cells]
    margin = drawing.MARGIN_PIXELS
    width = max(cell.shape[1] for cell in drawn) + margin
    rows = []
    for first in range(0, len(drawn), COLUMNS):
        row = drawn[first : first + COLUMNS]
        height = max(map(len, row))
        sheet = np.full((height, COLUMNS * width, 3), drawing.BACKGROUND, np.uint8)
        for column, cell in enumerate(row):
            sheet[: len(cell), column * width : column * width + cell.shape[1]] = cell
        rows.append(sheet[:, : min(len(drawn), COLUMNS) * width - margin])
    return drawing.stack(rows)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """The picture, with a short side of at least `CELL_PIXELS`."""
    height, width = picture.shape[:2]
    scale = max(CELL_PIXELS / min(height, width), 1.0)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
