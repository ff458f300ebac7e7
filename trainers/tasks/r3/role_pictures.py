"""Tokens of a caption with the roles they took and the regions these look at, as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from mm_models.r3.relations import Grid, TokenRelations, is_cross, shown_attention
from trainers.evaluation.pictures import drawing, matrices
from trainers.tasks.r3.appearance import role_color, short_name, span_label, span_sums, step_spans

_CODE_PIXELS, _ROW_PIXELS, _GAP_PIXELS = 32, 24, 3
_BAR_HEIGHT_PIXELS, _BARS_PIXELS = 48, 512


def role_picture(
    tokens: Sequence[str],
    relations: Mapping[str, TokenRelations],
    grid: Grid,
    lines: Sequence[str] = (),
) -> np.ndarray:
    """A row for each token: its text, the code of each attention in that code's colour, and how
    much each region of each step is looked at, where an attention looks at the video.

    Args:
        tokens: in words.
        relations: of the tokens, by the attention's name.
        grid: of the steps that are there.
        lines: of text under the picture, after its legend.

    Returns:
        uint8[picture height, picture width, 3].
    """
    shown = shown_attention(relations)
    columns = [_token_column(tokens)]
    columns += [_code_column(short_name(name), one.codes) for name, one in relations.items()]
    legend = "colours and numbers: codes of roles; v: of attention to the video, t: to the text"
    if is_cross(shown):
        columns += _step_columns(relations[shown].maps(grid))
        legend += f"; grids: what {short_name(shown)} looks at, step by step, bright: most"
    picture = _beside(columns)
    space = max(0, drawing.LEGEND_PIXELS - picture.shape[1])
    picture = np.pad(picture, ((0, 0), (0, space), (0, 0)), constant_values=drawing.BACKGROUND[0])
    return drawing.under(picture, [legend, *lines])


def code_bars(usage: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A bar for each code in its colour, as high as the code is used beside the most used one.

    Args:
        usage: float[codes].
        lines: of text under the bars.

    Returns:
        uint8[picture height, picture width, 3].
    """
    usage = np.asarray(usage, np.float64)
    width = max(2, _BARS_PIXELS // len(usage))
    bars = np.full((_BAR_HEIGHT_PIXELS, width * len(usage), 3), drawing.BACKGROUND, np.uint8)
    heights = np.ceil(usage / max(usage.max(), 1e-12) * _BAR_HEIGHT_PIXELS).astype(int)
    for code, height in enumerate(heights):
        bars[_BAR_HEIGHT_PIXELS - height :, code * width : (code + 1) * width] = role_color(code)
    return drawing.under(bars, lines)


def region_tile(values: np.ndarray, most: float) -> np.ndarray:
    """uint8[height, width, 3] of float[rows, columns]: bright where much is looked at."""
    size = max(4, _ROW_PIXELS // len(values))
    return matrices.matrix_cells(values, size, low=0.0, high=most)


def _token_column(tokens: Sequence[str]) -> list[np.ndarray]:
    width = max(map(drawing.text_pixels, tokens)) + 2 * drawing.MARGIN_PIXELS
    return [_cell("", width), *(_cell(token, width) for token in tokens)]


def _code_column(title: str, codes: np.ndarray) -> list[np.ndarray]:
    cells = [_cell(str(code), _CODE_PIXELS, role_color(int(code))) for code in codes]
    return [_cell(title, _CODE_PIXELS), *cells]


def _step_columns(maps: np.ndarray) -> list[list[np.ndarray]]:
    """Of float[tokens, steps, rows, columns]; each token's brightest region is the brightest."""
    spans = step_spans(maps.shape[1])
    maps = span_sums(maps, spans)
    most = maps.max(axis=(1, 2, 3))
    columns = []
    for number, span in enumerate(spans):
        tiles = [region_tile(*one) for one in zip(maps[:, number], most, strict=True)]
        width = max(tiles[0].shape[1], drawing.text_pixels(span_label(span)))
        columns.append([_cell(span_label(span), width), *tiles])
    return columns


def _cell(text: str, width: int, color: tuple = drawing.BACKGROUND) -> np.ndarray:
    cell = Image.new("RGB", (width, _ROW_PIXELS), color)
    drawing.write(ImageDraw.Draw(cell), (width / 2, _ROW_PIXELS / 2), text, "mm")
    return np.asarray(cell)


def _beside(columns: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Columns of cells side by side, their rows in line."""
    heights = [max(len(cell) for cell in row) for row in zip(*columns, strict=True)]
    stacked = []
    for column in columns:
        width = max(cell.shape[1] for cell in column) + _GAP_PIXELS
        padded = [
            np.pad(
                cell,
                ((0, height + _GAP_PIXELS - len(cell)), (0, width - cell.shape[1]), (0, 0)),
                constant_values=drawing.BACKGROUND[0],
            )
            for cell, height in zip(column, heights, strict=True)
        ]
        stacked.append(np.concatenate(padded, axis=0))
    return np.concatenate(stacked, axis=1)
