"""Which roles the tokens of a text took, and what these roles look at. NumPy only."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

CROSS = "cross_attention"


class Grid(NamedTuple):
    """How the tokens of a video lie: step by step, in a step row by row."""

    steps: int
    rows: int
    columns: int


class TokenRelations(NamedTuple):
    """What one attention with codes did while a text was written; row i is of token i.

    Attributes:
        head_codes: int64[tokens, heads] the code of each head.
        codes: int64[tokens] the code of most heads; of equals the one that fits best.
        weights: float64[tokens, keys] what the roles of a token were taken from, a mean over heads;
            where pairs have codes, those that took the token's code.
        code_weights: float64[keys] by code: what it was taken from, a mean over the tokens and
            heads that took it.
    """

    head_codes: np.ndarray
    codes: np.ndarray
    weights: np.ndarray
    code_weights: dict[int, np.ndarray]

    def maps(self, grid: Grid) -> np.ndarray:
        """float64[tokens, steps, rows, columns]: `weights` where the keys are those of a video."""
        return self.weights.reshape(-1, *grid)

    def code_maps(self, grid: Grid) -> dict[int, np.ndarray]:
        """float64[steps, rows, columns] by code, in the order of codes."""
        return {code: self.code_weights[code].reshape(grid) for code in sorted(self.code_weights)}


def head_codes(ids: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """int64[heads, queries]: the code of each head.

    Where there is a code for each pair of tokens, it is the one that most pairs took.

    Args:
        ids, scores, weights: of one example, see RoleTrace.
    """
    ids = np.asarray(ids, np.int64)
    if ids.ndim == 2:
        return ids
    heads, queries, keys = ids.shape
    places = np.arange(heads * queries).repeat(keys)
    votes = _votes(places, ids, scores, weights, heads * queries)
    return votes.reshape(heads, queries)


def relations_of(trace: Any, row: int, num_tokens: int, num_keys: int) -> TokenRelations:
    """What an attention did while the first tokens of a text were written.

    Args:
        trace: RoleTrace of a batch, of tensors or arrays.
        row: of the batch.
        num_tokens: of the text.
        num_keys: what may be looked at, less the padding behind it.
    """
    ids, scores, weights = (np.asarray(field[row])[:, :num_tokens] for field in trace)
    weights = weights[..., :num_keys]
    if ids.ndim == 3:
        ids, scores = ids[..., :num_keys], scores[..., :num_keys]
    of_heads = head_codes(ids, scores, weights)
    heads = len(of_heads)
    if ids.ndim == 3:
        scores = (scores * weights).sum(axis=2)
    places = np.tile(np.arange(num_tokens), heads)
    codes = _votes(places, of_heads, scores, np.ones_like(scores), num_tokens)
    of_codes = looked_at(ids, weights, int(ids.max()) + 1)
    found = of_codes.sum(axis=1)
    of_tokens = weights.astype(np.float64)
    if ids.ndim == 3:
        of_tokens = of_tokens * (ids == codes[:, None])
    of_tokens = of_tokens.sum(axis=0)
    return TokenRelations(
        head_codes=of_heads.T,
        codes=codes,
        weights=of_tokens / np.maximum(of_tokens.sum(axis=1, keepdims=True), 1e-12),
        code_weights={int(code): of_codes[code] / found[code] for code in np.flatnonzero(found)},
    )


def text_relations(
    traces: Mapping[str, Any], row: int, num_tokens: int, num_regions: int
) -> dict[str, TokenRelations]:
    """`relations_of` every attention of the decoder that has codes, by its name in `traces`.

    Args:
        traces: see R3Model.
        row: of the batch.
        num_tokens: of the text.
        num_regions: of all steps of the video.
    """
    return {
        name: relations_of(
            trace.roles, row, num_tokens, num_regions if is_cross(name) else num_tokens
        )
        for name, trace in traces.items()
        if name.startswith("decoder/") and trace.roles is not None
    }


def looked_at(ids: np.ndarray, weights: np.ndarray, num_codes: int) -> np.ndarray:
    """float64[codes, keys]: what was looked at, added up over the tokens and heads of a code.

    Args:
        ids: int[..., queries], or of pairs int[..., queries, keys].
        weights: float[..., queries, keys].
        num_codes: of the dictionary.
    """
    keys = weights.shape[-1]
    if ids.ndim == weights.ndim:
        places = ids.astype(np.int64) * keys + np.arange(keys)
        sums = np.bincount(places.ravel(), weights.ravel(), num_codes * keys)
        return sums.reshape(num_codes, keys)
    taken = np.eye(num_codes)[np.ravel(ids)]
    return taken.T @ np.reshape(weights, [-1, keys]).astype(np.float64)


def _votes(places, codes, scores, weights, num_places: int) -> np.ndarray:
    """int64[places]: the code with most weight at each place; of equals the one that fits best."""
    num_codes = int(codes.max()) + 1
    at = places * num_codes + np.ravel(codes)
    shape, size = (num_places, num_codes), num_places * num_codes
    votes = np.bincount(at, np.ravel(weights), size).reshape(shape)
    fit = np.bincount(at, np.ravel(scores) * np.ravel(weights), size).reshape(shape)
    # Sums of equal shares differ in their last digits.
    most = votes >= votes.max(axis=1, keepdims=True) * (1 - 1e-6)
    return np.where(most, fit, -np.inf).argmax(axis=1)


def is_cross(name: str) -> bool:
    """Whether the keys of the attention of that name are those of a video."""
    return name.endswith(f"/{CROSS}")


def shown_attention(names: Mapping[str, Any]) -> str:
    """The attention that stands for a text where one is shown: the highest one that looks at the
    video, or else the highest one."""
    return next((name for name in reversed(names) if is_cross(name)), list(names)[-1])
