"""Annotation files and stand-ins for media."""

import json
import pathlib

CAPTIONED = {
    "v_one": {
        "duration": 20.5,
        "timestamps": [[0.4, 3.2], [5.0, 5.0], [19.6, 21.3], [7.5, 3.0]],
        "sentences": ["A man runs.", " He stops.", "He  bows.", "He left."],
    }
}


def write(path: pathlib.Path, value) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def media(folder: pathlib.Path, *names: str) -> str:
    for name in names:
        write(folder / name, "x")
    return str(folder)


def of_videos(count: int, text: str) -> dict:
    entry = {"duration": 9.0, "timestamps": [[0.0, 2.0], [2.0, 9.0]], "sentences": [text, "Then."]}
    return {f"v_{number}": entry for number in range(count)}
