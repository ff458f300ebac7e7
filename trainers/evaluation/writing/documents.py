"""Pages that need no other file."""

import base64
import html

STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; color: #141414; background: #fafafa }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: left }
tr { border-bottom: 1px solid #ddd } h2 { margin-top: 2em }
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: in words.
        body: in HTML.
        style: CSS beside that of all pages.
    """
    title = html.escape(title)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}{style}</style>'
    body = f"<h1>{title}</h1>\n{body}"
    return f"<!doctype html><html><head>{head}</head><body>\n{body}\n</body></html>\n"


def jpeg_source(content: bytes) -> str:
    """A JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
