"""How roles look on pictures and pages: colours light enough for dark letters, names, steps."""

import colorsys
import itertools
from collections.abc import Sequence

import numpy as np

_GOLDEN_TURN = 0.381966
_GAMMA = 2.2
# Relative luminances: of letters on the darkest of them the contrast is more than 7 to 1.
_LUMINANCES = (0.55, 0.75, 0.40)
_PARTS_OF_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
END_MARK, BLANK_MARK = "(end)", "\u2581"
MAX_SPANS = 16


def role_color(code: int) -> tuple[int, int, int]:
    """Red, green and blue in 0 to 255; codes next to each other differ most."""
    luminance = _LUMINANCES[code // 3 % len(_LUMINANCES)]
    hue = np.array(colorsys.hsv_to_rgb(code * _GOLDEN_TURN % 1.0, 0.9, 1.0)) ** _GAMMA
    found = hue @ _PARTS_OF_LUMINANCE
    # In linear light, mixing with white or black moves luminance in proportion.
    if found < luminance:
        hue += (1 - hue) * (luminance - found) / (1 - found)
    else:
        hue *= luminance / found
    red, green, blue = (round(255 * float(part) ** (1 / _GAMMA)) for part in hue)
    return red, green, blue


def hex_color(code: int) -> str:
    """`role_color` as pages write it."""
    return "#" + "".join(f"{part:02x}" for part in role_color(code))


def short_name(attention: str) -> str:
    """A name of few letters of an attention, by that in `R3Model.traces`: `v1` of the decoder's
    block 1 to the video, `t1` to the text, `e0` of the encoder."""
    side, block, kind = attention.split("/")
    letter = "v" if kind.startswith("cross") else "t"
    return f"{'e' if side == 'encoder' else letter}{block.rpartition('_')[2]}"


def long_name(attention: str) -> str:
    """The same in words."""
    side, block, kind = attention.split("/")
    number = block.rpartition("_")[2]
    if side == "encoder":
        return f"video to itself, encoder block {number}"
    what = "text to video" if kind.startswith("cross") else "text to itself"
    return f"{what}, decoder block {number}"


def token_texts(pieces: Sequence[str]) -> list[str]:
    """The tokens of a text one by one, as `SentencePieceTokenizer.pieces` gives them; what goes on
    with a word begins with `+`."""
    return [_token_text(piece, first=not place) for place, piece in enumerate(pieces)]


def _token_text(piece: str, *, first: bool) -> str:
    if not piece:
        return END_MARK
    if first or piece[0] == " ":
        return piece.strip() or BLANK_MARK
    return f"+{piece}"


def code_label(code: int, names: Sequence[str] = ()) -> str:
    """A code and the words that it prefers."""
    return f"{code} ({', '.join(names)})" if names else str(code)


def step_spans(num_steps: int) -> list[range]:
    """The steps of a video one by one, or where they are many in spans of about as many each."""
    edges = np.linspace(0, num_steps, min(num_steps, MAX_SPANS) + 1).round().astype(int).tolist()
    return [range(first, end) for first, end in itertools.pairwise(edges)]


def span_label(span: range) -> str:
    """The numbers of its steps."""
    return str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}"


def span_sums(maps: np.ndarray, spans: Sequence[range]) -> np.ndarray:
    """float[..., spans, rows, columns]: what float[..., steps, rows, columns] adds up to."""
    return np.add.reduceat(maps, [span[0] for span in spans], axis=-3)
