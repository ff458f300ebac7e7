"""Tables of one video's captions: a row holds start, end and text."""

import csv
import io

from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions.json_captions import captions_of_value
from beam_pipelines.sources.captions.parsed import BadCaptions, Parsed

_NEEDED = ({"start", "start_seconds", "start_time", "begin"}, {"text", "sentence", "caption"})


def parse_timed_rows(text: str) -> Parsed:
    """Timed captions of rows separated by commas or tabs.

    Raises:
        BadCaptions: the header does not name a start and a text.
    """
    header = text.lstrip("\ufeff").split("\n", 1)[0]
    delimiter = "\t" if "\t" in header else ","
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=delimiter)
    try:
        rows = [{(k or "").strip().lower(): v for k, v in row.items()} for row in reader]
    except csv.Error as error:
        raise BadCaptions(f"not a table: {error}") from error
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not all(names & choice for choice in _NEEDED):
        known = " ".join(", ".join(sorted(names)).split())
        raise BadCaptions(f"a table without start, end and text; it has {known[:60]!r}")
    # Tables from data frames begin with a column of row numbers, which has no name.
    rows = [{k: v for k, v in row.items() if k and v not in (None, "")} for row in rows]
    parsed = captions_of_value({"captions": rows})
    untimed = [c for c in parsed.content.get("captions", ()) if "start_seconds" not in c]
    parsed.note(NoteCode.CUE_LEFT_OUT, "rows without times", len(untimed))
    timed = [c for c in parsed.content.get("captions", ()) if "start_seconds" in c]
    parsed.content["captions"] = timed
    return parsed
