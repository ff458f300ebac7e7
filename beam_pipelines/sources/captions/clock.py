"""Times as subtitle formats write them."""

import re

from beam_pipelines.sources.captions.parsed import BadCaptions

# Hours may be missing, and the fraction; it follows a comma, a dot or a colon.
CLOCK = r"(?:\d{1,6}:)?\d{1,2}:\d{1,2}(?:[.,:]\d{1,9})?"
_PARTS = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,9}))?")


def clock_seconds(word: str) -> float:
    """Seconds of a time such as `01:02:03,500`, `02:03.5` or `00:02:03`. Raises BadCaptions."""
    match = _PARTS.fullmatch(word)
    if not match:
        raise BadCaptions(f"not a time: {word[:40]!r}")
    hours, minutes, seconds, fraction = match.groups()
    if int(seconds) >= 60:
        raise BadCaptions(f"not a time, {seconds} seconds: {word[:40]!r}")
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    scale = 10 ** len(fraction or "")
    return (whole * scale + int(fraction or 0)) / scale
