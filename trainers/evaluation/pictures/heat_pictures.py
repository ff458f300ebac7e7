"""Pictures under the heat map of what was looked for in them, with words below."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mm_models.signal.picture_overlays import with_boxes, with_heat, with_point
from trainers.evaluation.pictures import drawing


def heat_picture(
    picture: np.ndarray,
    heat: np.ndarray,
    *,
    boxes_yxyx_norm: np.ndarray | None = None,
    point: Sequence[float] | None = None,
    height_pixels: int = 192,
) -> np.ndarray:
    """A picture beside itself under a heat map, whose highest value is red.

    Args:
        picture: float[height, width, 3] in [-1, 1], or uint8.
        heat: float[rows, columns], at least 0.
        boxes_yxyx_norm: float[boxes, 4] y0, x0, y1, x1 as shares of the picture, drawn on both.
        point: y and x as shares of the picture, marked under the heat.
        height_pixels: height of each of the two.

    Returns:
        uint8[height_pixels, picture width, 3].
    """
    plain = drawing.to_uint8(picture)
    width = max(1, round(height_pixels * plain.shape[1] / plain.shape[0]))
    image = Image.fromarray(plain).resize((width, height_pixels), Image.Resampling.BILINEAR)
    plain = np.asarray(image)
    heated = with_heat(plain, np.asarray(heat, np.float64) / max(float(np.max(heat)), 1e-12))
    if boxes_yxyx_norm is not None:
        titles = [""] * len(boxes_yxyx_norm)
        plain, heated = (with_boxes(each, boxes_yxyx_norm, titles) for each in (plain, heated))
    if point is not None:
        heated = with_point(heated, point)
    gap = np.full((height_pixels, drawing.MARGIN_PIXELS, 3), drawing.BACKGROUND, np.uint8)
    return np.concatenate([plain, gap, heated], axis=1)
