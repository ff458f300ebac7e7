"""Written texts as files and pictures: JSON lines, a page to look at, TensorBoard panels."""

import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from mm_models.metrics.scores import Score
from trainers.evaluation.pictures import drawing, panels
from trainers.evaluation.writing import documents
from trainers.evaluation.writing.paragraphs import Paragraph
from trainers.evaluation.writing.text_scores import MODEL, TextScores
from trainers.evaluation.writing.written_texts import GeneratedText

JPEG_QUALITY = 85
_STYLE = """
td.number { text-align: right; font-variant-numeric: tabular-nums }
figure { display: flex; gap: 1em; margin: 1em 0; border-bottom: 1px solid #ddd }
figure img { height: 8em } dl { margin: 0 } dd { margin: 0 0 .4em }
dt { color: #777; font-size: 85% }
"""


def jpeg(frames: np.ndarray) -> bytes:
    """A clip's frames, uint8[frames, height, width, 3], side by side."""
    return encoded(drawing.clip_strip(frames, height_pixels=frames.shape[1]))


def encoded(picture: np.ndarray) -> bytes:
    """JPEG of uint8[height, width, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def json_lines(
    examples: Sequence[GeneratedText], per_example: Mapping[str, np.ndarray], step: int
) -> str:
    """One JSON object per example: what was asked, written and right, and its scores."""
    lines = []
    for row, example in enumerate(examples):
        known = {name: float(values[row]) for name, values in per_example.items()}
        content = {
            "step": step,
            "key": example.key,
            "page": example.page,
            "language": example.language,
            "kind": example.kind,
            "prompt": example.prompt,
            "generated": example.text,
            "references": list(example.references),
            "log_probability": round(example.log_probability, 4),
            "scores": {name: round(value, 6) for name, value in known.items() if value == value},
        }
        lines.append(json.dumps(content, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def paragraph_lines(scores: TextScores, step: int) -> str:
    """One JSON object per paragraph: its sentences in order, the right ones, and its scores."""
    lines = []
    for row, paragraph in enumerate(scores.paragraphs):
        known = {name: float(values[row]) for name, values in scores.per_paragraph.items()}
        content = {
            "step": step,
            **paragraph.key._asdict(),
            "clips": paragraph.clips,
            "generated": paragraph.sentences,
            "references": paragraph.references,
            "scores": {name: round(value, 6) for name, value in known.items() if value == value},
        }
        lines.append(json.dumps(content, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def table_rows(scores: TextScores) -> list[tuple[str, str, str, Score]]:
    """Group, metric, writer and score, the model's before the baselines' of the same metric."""
    rows = []
    for group, writers in scores.groups.items():
        for metric in writers[MODEL]:
            for writer, table in writers.items():
                if metric in table:
                    rows.append((group or "all", metric, writer, table[metric]))
    return rows


def table_json(scores: TextScores, step: int) -> str:
    """All scores with their standard errors and counts."""
    rows = [
        {"group": group, "metric": metric, "of": writer, **score._asdict()}
        for group, metric, writer, score in table_rows(scores)
    ]
    return json.dumps({"step": step, "scores": rows}, indent=1) + "\n"


def table_panel(scores: TextScores) -> panels.TextPanel:
    """The scores as a table for TensorBoard."""
    lines = ["| group | metric | of | score | standard error | examples |", "|" + "---|" * 6]
    for group, metric, writer, score in table_rows(scores):
        numbers = f"{score.value:.4g} | {score.standard_error:.2g} | {score.count}"
        lines.append(f"| {group} | {metric} | {writer} | {numbers} |")
    return panels.TextPanel("scores", "\n".join(lines))


def extremes(per_example: Mapping[str, np.ndarray], count: int) -> dict[str, list[int]]:
    """Rows of the worst and the best examples by the first metric, no row twice."""
    values = next(iter(per_example.values()))
    order = [int(row) for row in np.argsort(values, kind="stable")]
    worst = order[:count]
    best = [row for row in order[::-1][:count] if row not in worst]
    return {"worst": worst, "best": best}


def html_page(
    title: str, examples: Sequence[GeneratedText], scores: TextScores, num_pictures: int
) -> str:
    """A page that needs no other file: the table, then worst and best examples with pictures, then
    worst and best paragraphs where there are any."""
    parts = ["<table>", _head()]
    parts += [_table_row(*row) for row in table_rows(scores)]
    parts.append("</table>")
    for name, rows in extremes(scores.per_example, num_pictures).items():
        if rows:
            parts.append(f"<h2>{name}</h2>")
            parts += [_figure(examples[row], scores.per_example, row) for row in rows]
    if scores.paragraphs:
        for name, rows in extremes(scores.per_paragraph, num_pictures).items():
            parts.append(f"<h2>{name} paragraphs</h2>")
            parts += [
                _paragraph_figure(scores.paragraphs[row], scores.per_paragraph, row) for row in rows
            ]
    return documents.document(title, "\n".join(parts), _STYLE)


def example_panels(
    examples: Sequence[GeneratedText], scores: TextScores, num_pictures: int
) -> list[panels.Panel]:
    """Pictures with prompt, written and right text under them, and the same as text."""
    shown: list[panels.Panel] = [table_panel(scores)]
    for name, rows in extremes(scores.per_example, num_pictures).items():
        lines = ["| score | prompt | generated | reference |", "|" + "---|" * 4]
        strips = []
        for row in rows:
            example, score = examples[row], _row_score(scores.per_example, row)
            cells = (score, example.prompt, example.text, " / ".join(example.references))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            if example.picture is not None:
                words = [example.prompt, f"{score}: {example.text}"]
                words += [f"right: {reference}" for reference in example.references[:2]]
                picture = np.asarray(Image.open(io.BytesIO(example.picture)))
                strips.append(drawing.clip_strip(picture[np.newaxis], words))
        if rows:
            shown.append(panels.TextPanel(name, "\n".join(lines)))
        if strips:
            shown.append(panels.ImagePanel(name, drawing.stack(strips)))
    return shown


def _row_score(per_example: Mapping[str, np.ndarray], row: int) -> str:
    name, values = next(iter(per_example.items()))
    return f"{name} {values[row]:.2f}"


def _head() -> str:
    names = ("group", "metric", "of", "score", "standard error", "examples")
    return "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"


def _table_row(group: str, metric: str, writer: str, score: Score) -> str:
    words = "".join(f"<td>{html.escape(word)}</td>" for word in (group, metric, writer))
    numbers = (f"{score.value:.4g}", f"{score.standard_error:.2g}", str(score.count))
    return f"<tr>{words}{''.join(_number(number) for number in numbers)}</tr>"


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _paragraph_figure(
    paragraph: Paragraph, per_paragraph: Mapping[str, np.ndarray], row: int
) -> str:
    entries = [
        (" ".join(paragraph.key), _all_scores(per_paragraph, row)),
        ("generated", paragraph.text),
        *(("reference", reference) for reference in paragraph.reference_texts),
    ]
    return f"<figure><dl>{''.join(_entries(entries))}</dl></figure>"


def _all_scores(per_example: Mapping[str, np.ndarray], row: int) -> str:
    return ", ".join(f"{name} {values[row]:.3g}" for name, values in per_example.items())


def _figure(example: GeneratedText, per_example: Mapping[str, np.ndarray], row: int) -> str:
    entries = [
        (f"{example.key} {example.language} {example.kind}", _all_scores(per_example, row)),
        ("prompt", example.prompt),
        ("generated", example.text),
        *(("reference", reference) for reference in example.references),
    ]
    return f"<figure>{_image(example)}<dl>{''.join(_entries(entries))}</dl></figure>"


def _image(example: GeneratedText) -> str:
    if example.picture is None:
        return ""
    return f'<img alt="" src="{documents.jpeg_source(example.picture)}">'


def _entries(entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, text in entries:
        yield f'<dt>{html.escape(name)}</dt><dd dir="auto">{html.escape(text)}</dd>'
