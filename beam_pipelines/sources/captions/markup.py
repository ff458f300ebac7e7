"""Formatting inside cues: what of a line is text."""

import html
import re

# Only what the formats define: `a < b and c > d` and `<laughs>` are text.
_TAG = re.compile(
    r"</?(?:i|b|u|s|c|v|em|strong|font|span|lang|ruby|rt|br)(?:[.\s/][^<>]*)?>"
    r"|<\d+:[\d:.]+>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
# Without its semicolon an entity is as likely to be text: "AT&T", "R&Damp".
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
WORD_TIME = re.compile(r"<\d+:[\d:.]+>")


def plain_text(line: str) -> tuple[str, int]:
    """(text with single spaces, number of tags removed) of one line of a cue."""
    text, removed = _TAG.subn("", _BREAK.sub(" ", line))
    text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    return " ".join(text.split()), removed
