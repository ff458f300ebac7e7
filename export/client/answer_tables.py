"""Outputs that share their rows as aligned tables, best first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export.client.answer_kinds import ANSWER_KINDS, answer_kind
from export.client.questions import Question
from export.signatures import fields
from export.signatures.fields import SignatureDoc

MIN_WIDTH = 9


def answer_tables(
    signature: str, doc: SignatureDoc, values: Mapping[str, Any], question: Question
) -> list[str]:
    """A table for each group of outputs with the same rows.

    Args:
        signature: its name, the tables' title.
        doc: of the signature.
        values: JSON values by output.
        question: what was asked; its sentences and labels are in the order of their scores.
    """
    grouped: dict[str, list[str]] = {}
    for name, field in doc.outputs.items():
        grouped.setdefault(answer_kind(field).rows, []).append(name)
    grouped.pop("", None)
    if ANSWER_KINDS[fields.BEST_CLASSES].rows in grouped:
        # They say the same as the scores of all classes.
        grouped.pop(ANSWER_KINDS[fields.CLASS_SCORES].rows, None)
    return [_table(signature, doc, values, names, question) for names in grouped.values()]


def aligned_table(title: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]]) -> str:
    """Lines of a title with the columns' names, and of each row's name with its entries."""
    width = max(map(len, [title, *rows]))
    lines = [f"{title:<{width}}", *(f"{row:<{width}}" for row in rows)]
    for name, entries in columns.items():
        wide = max(MIN_WIDTH, *map(len, [name, *entries]))
        cells = [name, *entries]
        lines = [f"{line}  {cell:>{wide}}" for line, cell in zip(lines, cells, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _table(
    signature: str,
    doc: SignatureDoc,
    values: Mapping[str, Any],
    names: Sequence[str],
    question: Question,
) -> str:
    kinds = {name: answer_kind(doc.outputs[name]) for name in names}
    # A text of its own has no axis besides that of rows.
    lists = {name: np.atleast_1d(np.array(values[name], object)).tolist() for name in names}
    titles = [lists[name] for name in names if kinds[name].names_rows]
    length = len(lists[names[0]])
    if not titles:
        given = [kinds[name].row_names(doc.outputs[name], question, length) for name in names]
        titles = [titles for titles in given if titles]
    rows = titles[0] if titles else [str(index + 1) for index in range(length)]
    columns = [name for name in names if not kinds[name].names_rows]
    kept = [i for i in range(length) if all(kinds[n].is_shown(lists[n][i]) for n in names)]
    scores = next((lists[name] for name in columns if kinds[name].is_score), None)
    if scores is not None:
        kept.sort(key=lambda index: -scores[index])
    most = min((kinds[name].most_rows for name in columns), default=length)
    cells = {name: [kinds[name].cell(lists[name][index]) for index in kept] for name in columns}
    shown = {name: entries[:most] for name, entries in cells.items()}
    return aligned_table(signature, [rows[index] for index in kept[:most]], shown)
