"""Matrices as pictures that say themselves what they show: axes, names, and a scale of colours."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from trainers.evaluation.pictures import drawing

_MATRIX_PIXELS = 480
_MIN_CELL_PIXELS, _MAX_CELL_PIXELS = 2, 32
_MAX_NAME_PIXELS = 130
_SCALE_PIXELS = (120, 12)
_LINE_PIXELS = drawing.FONT_PIXELS + 4


@dataclasses.dataclass(frozen=True)
class Axis:
    """What lies along one side of a matrix.

    Attributes:
        title: of the side.
        names: of its rows or columns, in order; none: they are numbered from 0.
    """

    title: str
    names: Sequence[str] = ()


def matrix_image(
    values: np.ndarray, rows: Axis, columns: Axis, *, meaning: str, low: float, high: float
) -> np.ndarray:
    """Cells in colours, the rows' title and names on the left, the columns' above, the scale below.

    Args:
        values: float[rows, columns]; NaN is as dark as `low`.
        rows, columns: what they are.
        meaning: what a cell's number is, for the scale.
        low, high: numbers of the darkest and the brightest colour.

    Returns:
        uint8[picture height, picture width, 3].
    """
    size = cell_pixels(values.shape)
    cells = matrix_cells(values, size, low=low, high=high)
    names = _names(columns, values.shape[1], size, flush_left=True)
    above = _joined([_line(columns.title), np.rot90(names)], axis=0)
    inner = _joined([above, cells], axis=0)
    left = _joined([np.rot90(_line(rows.title)), _names(rows, values.shape[0], size)], axis=1)
    space = np.full((above.shape[0], 1, 3), drawing.BACKGROUND, np.uint8)
    picture = _joined([_joined([space, left], axis=0), inner], axis=1)
    return drawing.under(drawing.stack([picture, _scale(low, high)]), [meaning])


def cell_pixels(shape: Sequence[int]) -> int:
    """Side of a cell in a matrix of that shape."""
    return int(np.clip(_MATRIX_PIXELS // max(shape), _MIN_CELL_PIXELS, _MAX_CELL_PIXELS))


def matrix_cells(values: np.ndarray, size: int, *, low: float, high: float) -> np.ndarray:
    """uint8[rows * size, columns * size, 3]: the bare cells."""
    scaled = np.clip((np.asarray(values) - low) / max(high - low, 1e-9), 0.0, 1.0)
    cells = drawing.colorize(np.nan_to_num(scaled))
    return cells.repeat(size, axis=0).repeat(size, axis=1)


def _names(axis: Axis, count: int, size: int, *, flush_left: bool = False) -> np.ndarray:
    """uint8[count * size, width, 3]: the names of rows, as many as find room."""
    names = list(axis.names) or [str(number) for number in range(count)]
    names = [_shortened(name) for name in names]
    # Room for a line, and for the first and the last one to be moved into the picture.
    every = 1 if size >= _LINE_PIXELS else -(-3 * _LINE_PIXELS // (2 * size))
    width = max(drawing.text_pixels(name) for name in names[::every]) + 2 * drawing.MARGIN_PIXELS
    block = Image.new("RGB", (width, count * size), drawing.BACKGROUND)
    draw = ImageDraw.Draw(block)
    for number in range(0, count, every):
        name, edge = names[number], min(_LINE_PIXELS / 2, count * size / 2)
        middle = min(max(number * size + size / 2, edge), count * size - edge)
        left = drawing.MARGIN_PIXELS
        if not flush_left:
            left = width - drawing.MARGIN_PIXELS - drawing.text_pixels(name)
        drawing.write(draw, (left, middle), name, anchor="lm")
    return np.asarray(block)


def _shortened(name: str) -> str:
    if drawing.text_pixels(name) <= _MAX_NAME_PIXELS:
        return name
    while name and drawing.text_pixels(f"{name}…") > _MAX_NAME_PIXELS:
        name = name[:-1]
    return f"{name.rstrip()}…"


def _line(text: str) -> np.ndarray:
    """uint8[line, width, 3]: a line of text."""
    size = (drawing.text_pixels(text) + 2 * drawing.MARGIN_PIXELS, _LINE_PIXELS)
    block = Image.new("RGB", size, drawing.BACKGROUND)
    drawing.write(ImageDraw.Draw(block), (drawing.MARGIN_PIXELS, _LINE_PIXELS / 2), text, "lm")
    return np.asarray(block)


def _joined(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Behind each other along `axis`, the smaller ones padded at their end along the other."""
    other = 1 - axis
    longest = max(picture.shape[other] for picture in pictures)
    padded = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[other] = (0, longest - picture.shape[other])
        padded.append(np.pad(picture, padding, constant_values=drawing.BACKGROUND[0]))
    return np.concatenate(padded, axis=axis)


def _scale(low: float, high: float) -> np.ndarray:
    """All colours from left to right between the numbers of their ends."""
    width, height = _SCALE_PIXELS
    texts = [f"{low:.3g}", f"{high:.3g}"]
    before = drawing.text_pixels(texts[0]) + 2 * drawing.MARGIN_PIXELS
    after = drawing.text_pixels(texts[1]) + 2 * drawing.MARGIN_PIXELS
    block = Image.new("RGB", (before + width + after, _LINE_PIXELS + 4), drawing.BACKGROUND)
    ramp = drawing.colorize(np.linspace(0.0, 1.0, width)[None].repeat(height, axis=0))
    block.paste(Image.fromarray(ramp), (before, 4))
    draw = ImageDraw.Draw(block)
    middle = 4 + height / 2
    drawing.write(draw, (drawing.MARGIN_PIXELS, middle), texts[0], anchor="lm")
    drawing.write(draw, (before + width + drawing.MARGIN_PIXELS, middle), texts[1], anchor="lm")
    return np.asarray(block)


def cosine_image(cosines: np.ndarray, rows: str, columns: str) -> np.ndarray:
    """A matrix of clips against the same clips; `rows` and `columns` title its axes."""
    return matrix_image(
        cosines,
        Axis(rows),
        Axis(columns),
        meaning="cosine; on the diagonal, of a clip with itself",
        low=float(cosines.min()),
        high=float(cosines.max()),
    )
