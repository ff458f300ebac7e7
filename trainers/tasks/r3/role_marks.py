"""Pieces of a page about roles, in HTML: coloured tokens, maps of regions."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.r3.relations import TokenRelations, is_cross
from trainers.tasks.r3.appearance import code_label, hex_color, token_texts
from trainers.tasks.r3.role_text import RoleText

Names = Mapping[int, Sequence[str]]
START = "(start)"
_DARKEST = 0.8


def tokens_line(text: RoleText, attention: str, names: Names) -> str:
    """A text, each token on the colour of its role and above the number of its code; what it looks
    at shows where the pointer rests on it."""
    relations = text.relations[attention]
    parts = []
    for place, (piece, token) in enumerate(zip(text.pieces, token_texts(text.pieces), strict=True)):
        code = int(relations.codes[place])
        label = code_label(code, names.get(code, ()))
        where = looked_at(text, attention, relations.weights[place])
        goes_on = place and piece and not piece.startswith(" ")
        parts.append("" if goes_on else " ")
        word = token.removeprefix("+") if goes_on else token
        parts.append(
            f'<span class="token" style="background:{hex_color(code)}" '
            f'title="{html.escape(f"code {label}; looks at {where}")}">{html.escape(word)}'
            f"<sub>{code}</sub></span>"
        )
    return f'<p class="tokens" dir="auto">{"".join(parts).strip()}</p>'


def code_mark(code: int) -> str:
    """The number of a code on its colour."""
    return f'<span class="token" style="background:{hex_color(code)}">{code}</span>'


def tokens_of(text: RoleText, relations: TokenRelations, code: int) -> str:
    """The tokens that took a code by most heads, in order."""
    tokens = token_texts(text.pieces)
    return ", ".join(tokens[place] for place in np.flatnonzero(relations.codes == code))


def looked_at(text: RoleText, attention: str, weights: np.ndarray, count: int = 3) -> str:
    """What a role looks at most, in words.

    Args:
        text: whose role it is.
        attention: that the role is of.
        weights: float[keys].
        count: regions or tokens named.
    """
    best = [int(key) for key in np.argsort(-weights, kind="stable")[:count] if weights[key] >= 0.01]
    if is_cross(attention):
        return "; ".join(f"{_region(text, key)} {weights[key]:.0%}" for key in best)
    read = [START, *token_texts(text.pieces)]
    return "; ".join(f"{read[key]} {weights[key]:.0%}" for key in best)


def _region(text: RoleText, key: int) -> str:
    _, rows, columns = text.grid
    step, region = divmod(key, rows * columns)
    if rows * columns == 1:
        return f"step {step}"
    return f"step {step}, row {region // columns + 1}, column {region % columns + 1}"


def region_map(values: np.ndarray, most: float, steps: str, frame: str = "") -> str:
    """The regions of some steps, the darker the less they are looked at.

    Args:
        values: float[rows, columns].
        most: what is as bright as can be.
        steps: which these are.
        frame: class of the picture behind it; empty for none.
    """
    rows, columns = values.shape
    veils = []
    for (row, column), value in np.ndenumerate(values):
        opacity = _DARKEST * (1.0 - min(float(value) / max(most, 1e-12), 1.0))
        if opacity >= 0.005:
            veils.append(
                f'<rect x="{column}" y="{row}" width="1" height="1" opacity="{opacity:.2f}"/>'
            )
    share = float(values.sum())
    return (
        f'<svg class="map {frame}" viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(steps)}: {share:.0%}">{"".join(veils)}</svg>'
    )
