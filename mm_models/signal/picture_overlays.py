"""Boxes, points and heat maps drawn over the picture that they are about."""

from collections.abc import Sequence

import numpy as np

COLOURS = ((255, 64, 64), (64, 200, 64), (80, 120, 255), (255, 200, 0), (220, 80, 220))
# Share of the heat map's colour where it is 1.
HEAT_OPACITY = 0.7
# Pictures in a row of several.
MOST_IN_A_ROW = 8


def with_boxes(picture: np.ndarray, boxes: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """The picture, of the same shape, with a frame and a title for each box.

    Args:
        picture: uint8[height, width, 3].
        boxes: float[boxes, 4] top, left, bottom and right as shares of the picture.
        titles: one for each box, written inside it.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    for number, (box, title) in enumerate(zip(boxes, titles, strict=True)):
        top, left, bottom, right = np.clip(box, 0.0, 1.0) * (height, width, height, width)
        colour = COLOURS[number % len(COLOURS)]
        corners = (left, top, max(right - 1, left), max(bottom - 1, top))
        draw.rectangle(corners, outline=colour, width=max(1, min(height, width) // 150))
        draw.text((left + 2, top + 1), title.encode("latin-1", "replace").decode("latin-1"), colour)
    return np.asarray(image)


def with_heat(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture under a heat map that is stretched over it: clear where it is 0, red where 1.

    Args:
        picture: uint8[height, width, 3].
        heat: float[rows, columns] in [0, 1].
    """
    from PIL import Image

    height, width = picture.shape[:2]
    known = np.clip(np.nan_to_num(heat), 0.0, 1.0).astype(np.float32)
    stretched = Image.fromarray(known).resize((width, height), Image.Resampling.BILINEAR)
    opacity = HEAT_OPACITY * np.asarray(stretched)[..., None]
    return np.round(picture * (1 - opacity) + opacity * (255, 0, 0)).astype(np.uint8)


def with_point(picture: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The picture, of the same shape, with a cross at a place.

    Args:
        picture: uint8[height, width, 3].
        point: float[2] from the top and from the left, as shares of the picture.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    size = np.array(picture.shape[:2])
    row, column = np.clip(np.floor(np.asarray(point) * size), 0, size - 1).astype(int).tolist()
    arm, line = max(3, int(size.min()) // 16), max(1, int(size.min()) // 150)
    for width, colour in ((line + 2, (0, 0, 0)), (line, (255, 255, 255))):
        draw.line((column - arm, row, column + arm, row), colour, width)
        draw.line((column, row - arm, column, row + arm), colour, width)
    return np.asarray(image)


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in rows of at most `MOST_IN_A_ROW`, black between them and where none is.

    Args:
        pictures: uint8[height, width, 3], of one size or of several.

    Returns:
        uint8[height, width, 3].
    """
    height, width = np.max([picture.shape[:2] for picture in pictures], axis=0) + 1
    columns = min(len(pictures), MOST_IN_A_ROW)
    sheet = np.zeros((-(-len(pictures) // columns) * height, columns * width, 3), np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + len(picture), left : left + picture.shape[1]] = picture
    return sheet[:-1, :-1]
