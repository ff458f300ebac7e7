"""A page about a video: what is written of it, the roles of the tokens, and what these look at."""

import html
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from mm_models.r3.relations import is_cross, shown_attention
from trainers.evaluation.writing import documents
from trainers.tasks.r3 import role_marks
from trainers.tasks.r3.appearance import long_name, span_label, span_sums, step_spans
from trainers.tasks.r3.role_marks import Names
from trainers.tasks.r3.role_text import RoleText

_MAP_PIXELS = 64
_STYLE = f"""
.token {{ padding: .1em .25em; border-radius: .2em; white-space: nowrap }}
.token sub {{ font-size: 65%; padding-left: .15em }}
.tokens {{ line-height: 2.1 }} .paragraph .tokens {{ display: inline }}
details {{ margin: .8em 0 }} summary {{ cursor: pointer }}
td, th {{ padding: .2em .3em; vertical-align: middle }} th {{ font-weight: normal; color: #555 }}
.map {{ display: block; height: {_MAP_PIXELS}px; width: {_MAP_PIXELS}px; background-color: #fde724;
  background-size: 100% 100% }}
td:nth-child(3) {{ min-width: 12em }} .scroll {{ overflow-x: auto }}
dt {{ color: #555; font-size: 85% }} dd {{ margin: 0 0 .4em }}
"""
_HELP = (
    "The number behind a token is the code of its role, chosen by most heads of an attention, and "
    "so is its colour. Codes of different attentions have nothing to do with each other. In the "
    "tables stand the codes that the tokens took, the words that a code prefers where that is "
    "known, and what the role looks at: the regions of each step, bright where it looks."
)


def role_page(
    title: str, texts: Sequence[RoleText], names: Mapping[str, Names] | None = None
) -> str:
    """A page in HTML that needs no other file.

    Args:
        title: of the video.
        texts: of its segments, in order.
        names: words that codes prefer, by attention and code.
    """
    names = names or {}
    frames = [_frame_styles(number, text) for number, text in enumerate(texts)]
    body = [f"<p>{_HELP}</p>"]
    if len(texts) > 1:
        lines = (_line(text, shown_attention(text.relations), names) for text in texts)
        body.append(f'<div class="paragraph">{" ".join(lines)}</div>')
    for number, text in enumerate(texts):
        body += _section(number, text, names)
    return documents.document(title, "\n".join(body), _STYLE + "".join(frames))


def _section(number: int, text: RoleText, names: Mapping[str, Names]) -> Iterator[str]:
    yield f'<section><h2>{html.escape(text.key)}</h2><dl dir="auto">'
    for what, words in (("written", text.text), *(("reference", one) for one in text.references)):
        yield f"<dt>{what}</dt><dd>{html.escape(words)}</dd>"
    yield "</dl>"
    shown = shown_attention(text.relations)
    for attention in sorted(text.relations, key=lambda name: name != shown):
        is_open = " open" if attention == shown else ""
        yield f"<details{is_open}><summary>{html.escape(long_name(attention))}</summary>"
        yield _line(text, attention, names)
        yield '<div class="scroll"><table>'
        yield from _code_rows(number, text, attention, names.get(attention, {}))
        yield "</table></div></details>"
    yield "</section>"


def _line(text: RoleText, attention: str, names: Mapping[str, Names]) -> str:
    return role_marks.tokens_line(text, attention, names.get(attention, {}))


def _code_rows(number: int, text: RoleText, attention: str, names: Names) -> Iterator[str]:
    relations = text.relations[attention]
    spans = step_spans(text.grid.steps) if is_cross(attention) else []
    last = [f"step {span_label(span)}" for span in spans] or ["looks at"]
    yield _row("th", ["code", "prefers", "tokens", *last])
    behind = [_frame_class(number, text, span) for span in spans]
    if any(behind):
        yield _row("td", ["", "", "", *(f'<div class="map {name}"></div>' for name in behind)])
    for code in sorted(set(relations.codes.tolist())):
        weights = relations.code_weights.get(code, np.zeros(relations.weights.shape[1]))
        cells = [
            role_marks.code_mark(code),
            html.escape(", ".join(names.get(code, ()))),
            html.escape(role_marks.tokens_of(text, relations, code)),
        ]
        if spans:
            maps = span_sums(weights.reshape(text.grid), spans)
            shown = zip(maps, last, behind, strict=True)
            cells += [role_marks.region_map(one, float(maps.max()), *rest) for one, *rest in shown]
        else:
            cells.append(html.escape(role_marks.looked_at(text, attention, weights)))
        yield _row("td", cells)


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _frame_class(number: int, text: RoleText, span: range) -> str:
    """The class of the frame in the middle of some steps; empty where there is none."""
    middle = span[len(span) // 2]
    return f"f{number}-{middle}" if middle < len(text.frames) else ""


def _frame_styles(number: int, text: RoleText) -> str:
    """The frames of a text, each once."""
    found = []
    for span in step_spans(text.grid.steps):
        name = _frame_class(number, text, span)
        if name:
            frame = text.frames[span[len(span) // 2]]
            width, height = Image.open(io.BytesIO(frame)).size
            found.append(
                f".{name} {{ width: {round(_MAP_PIXELS * width / height)}px; "
                f'background-image: url("{documents.jpeg_source(frame)}") }}\n'
            )
    return "".join(found)
