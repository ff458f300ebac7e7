"""Captions written in every format that is read, whole and with one damaged cue."""

import json
from collections.abc import Callable

Cue = tuple[int, int, str]
"""Start and end in milliseconds, and the text."""


def clock(milliseconds: int, mark: str = ",", *, hours: bool = True, digits: int = 3) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    ahead = f"{seconds // 3600:02d}:" if hours or seconds >= 3600 else ""
    fraction = f"{mark}{rest:03d}"[: digits + 1]
    return f"{ahead}{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def srt(cues: list[Cue], damaged: int | None = None, *, between: str = "\n\n", mark=",") -> str:
    blocks = []
    for number, (start, end, text) in enumerate(cues, start=1):
        times = f"{clock(start, mark)} --> {clock(end, mark)}"
        if number - 1 == damaged:
            times = f"{clock(end, mark)} --> {clock(start, mark)}"
        blocks.append(f"{number}\n{times}\n{text}")
    return between.join(blocks) + "\n"


def srt_with_a_lost_time(cues: list[Cue], damaged: int | None = None) -> str:
    text = srt(cues)
    if damaged is None:
        return text
    start, end, _ = cues[damaged]
    return text.replace(f"{clock(start)} --> {clock(end)}\n", "")


def vtt(cues: list[Cue], damaged: int | None = None) -> str:
    blocks = ["WEBVTT - a title", "NOTE\nof two\nlines", "STYLE\n::cue { color: red }"]
    for number, (start, end, text) in enumerate(cues):
        first = "soon" if number == damaged else clock(start, ".", hours=False)
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        name = f"name {number}\n" if number % 2 else ""
        blocks.append(
            f"{name}{first} --> {clock(end, '.', hours=False)} align:start position:0%\n"
            f"<v Ann><c.loud>{escaped}</c>"
        )
    return "\n\n".join(blocks) + "\n"


def ass(cues: list[Cue], damaged: int | None = None) -> str:
    lines = ["[Script Info]", "Title: x", "[Events]"]
    lines.append("Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text")
    lines.append("Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,left out")
    for number, (start, end, text) in enumerate(cues):
        last = "?" if number == damaged else clock(end, ".", digits=3)
        lines.append(
            f"Dialogue: 0,{clock(start, '.')},{last},Default,,0,0,0,,{{\\an8\\i1}}{text}{{\\i0}}"
        )
    return "\n".join(lines)


def _objects(cues: list[Cue], damaged: int | None, names: tuple[str, str, str]) -> list[dict]:
    rows = [dict(zip(names, (s / 1000, e / 1000, text), strict=True)) for s, e, text in cues]
    if damaged is not None:
        rows[damaged][names[0]] = cues[damaged][1] / 1000 + 1
    return rows


def sbv(cues: list[Cue], damaged: int | None = None) -> str:
    blocks = []
    for number, (start, end, text) in enumerate(cues):
        first, last = (end, start) if number == damaged else (start, end)
        blocks.append(f"{clock(first, '.')},{clock(last, '.')}\n{text}")
    return "\n\n".join(blocks) + "\n"


def events_json(cues: list[Cue], damaged: int | None = None) -> str:
    events = [
        {"tStartMs": s, "dDurationMs": e - s, "segs": [{"utf8": text}], "wWinId": 1}
        for s, e, text in cues
    ]
    if damaged is not None:
        events[damaged]["tStartMs"] = "soon"
    return json.dumps({"wireMagic": "pb3", "events": events})


def own_json(cues: list[Cue], damaged: int | None = None) -> str:
    return json.dumps(
        {"captions": _objects(cues, damaged, ("start_seconds", "end_seconds", "text"))}
    )


def recogniser_json(cues: list[Cue], damaged: int | None = None) -> str:
    segments = _objects(cues, damaged, ("start", "end", "text"))
    segments = [{"id": n, "tokens": [1], **segment} for n, segment in enumerate(segments)]
    return json.dumps({"text": "all of it", "segments": segments, "language": "en"})


def chunks_json(cues: list[Cue], damaged: int | None = None) -> str:
    rows = _objects(cues, damaged, ("s", "e", "text"))
    chunks = [{"timestamp": [row["s"], row["e"]], "text": f" {row['text']}"} for row in rows]
    return json.dumps({"text": "all of it", "chunks": chunks})


def offsets_json(cues: list[Cue], damaged: int | None = None) -> str:
    rows = [{"offsets": {"from": s, "to": e}, "text": text} for s, e, text in cues]
    if damaged is not None:
        rows[damaged]["offsets"]["to"] = "later"
    return json.dumps({"result": {"language": "en"}, "transcription": rows})


def dense_json(cues: list[Cue], damaged: int | None = None) -> str:
    rows = _objects(cues, damaged, ("s", "e", "text"))
    return json.dumps(
        {
            "duration": 99.0,
            "timestamps": [[row["s"], row["e"]] for row in rows],
            "sentences": [row["text"] for row in rows],
        }
    )


def columns_json(cues: list[Cue], damaged: int | None = None) -> str:
    rows = _objects(cues, damaged, ("start", "end", "text"))
    return json.dumps({name: [row[name] for row in rows] for name in ("start", "end", "text")})


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv_rows(cues: list[Cue], damaged: int | None = None) -> str:
    rows = _objects(cues, damaged, ("start", "end", "text"))
    lines = [
        f"{n},{row['start']},{row['end']},{_quoted(row['text'])}" for n, row in enumerate(rows)
    ]
    return "\n".join([",start,end,text", *lines]) + "\n"


def spans_txt(cues: list[Cue], damaged: int | None = None) -> str:
    rows = _objects(cues, damaged, ("start", "end", "text"))
    return "".join(f"{row['start']:.3f}\t{row['end']:.3f}\t{row['text']}\n" for row in rows)


Writer = Callable[[list[Cue], int | None], str]
FORMATS: dict[str, tuple[str, Writer]] = {
    "srt": (".srt", srt),
    "srt without blank lines": (".srt", lambda cues, d=None: srt(cues, d, between="\n")),
    "srt with many blank lines and dots": (
        ".srt",
        lambda cues, d=None: srt(cues, d, between="\n \n\n", mark="."),
    ),
    "srt with a lost line of times": (".srt", srt_with_a_lost_time),
    "srt named txt": (".txt", srt),
    "vtt": (".vtt", vtt),
    "ass": (".ass", ass),
    "ssa": (".ssa", ass),
    "sbv": (".sbv", sbv),
    "events of a video site": (".json3", events_json),
    "own json": (".json", own_json),
    "segments of a recogniser": (".json", recogniser_json),
    "chunks of a recogniser": (".json", chunks_json),
    "offsets of a recogniser": (".json", offsets_json),
    "timestamps and sentences": (".json", dense_json),
    "columns": (".json", columns_json),
    "csv": (".csv", csv_rows),
    "spans": (".txt", spans_txt),
}
