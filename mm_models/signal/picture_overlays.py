"""Boxes, points and heat maps drawn over the picture that they are about."""

from collections.abc import Sequence

import numpy as np

COLOURS = ((255, 64, 64), (64, 200, 64), (80, 120, 255), (255, 200, 0), (220, 80, 220))
# Share of the heat map's colour where it is 1.
HEAT_OPACITY = 0.7


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


def with_point(picture: np.ndarray, point: Sequence[float]) -> np.ndarray:
    """The picture with a white cross, edged in black, at (y, x) as shares of it."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    y, x = point[0] * height, point[1] * width
    arm = max(3, min(height, width) // 25)
    for colour, line in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        draw.line((x - arm, y, x + arm, y), fill=colour, width=line)
        draw.line((x, y - arm, x, y + arm), fill=colour, width=line)
    return np.asarray(image)
