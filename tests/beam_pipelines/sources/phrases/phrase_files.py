"""Toy pictures, and what items say of phrases, as tests compare it."""

import collections
import json
import pathlib

from PIL import Image

from beam_pipelines.items.schema import check_item


def pictures(folder: pathlib.Path, *names: str, size: tuple[int, int] = (200, 100)) -> str:
    """Writes pictures of (width, height) pixels; returns the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(folder / name)
    return str(folder)


def write_json(path: pathlib.Path, value) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def meanings(item: dict) -> dict[tuple, list[tuple]]:
    """(label, box or None) of the objects of each phrase (text, sentence, first word)."""
    check_item(item)
    found = collections.defaultdict(list)
    for entry in item["objects"]:
        label = entry.get("label", {}).get("text", "")
        box = tuple(entry["track"][0]["box_yxyx_norm"]) if "track" in entry else None
        for phrase in entry.get("phrases", ()):
            key = phrase["text"], phrase.get("sentence", ""), phrase.get("first_word", -1)
            found[key].append((label, box))
    return dict(found)
