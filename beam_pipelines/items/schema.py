"""The manifest's schema: what one line may hold, and checks whose errors name the field."""

import math
import posixpath
import re
from collections.abc import Callable
from typing import Any

SPLITS = ("train", "val", "test")
CAPTION_RELATIONS = ("moment", "neighbour", "wrong")
_MAX_INT64 = 2**63 - 1
_WHOLE_PATH = re.compile(r"/|[a-zA-Z][-a-zA-Z0-9+.]*://")

Check = Callable[[Any, str], None]


class SchemaError(ValueError):
    """One field is wrong; the text starts with the field's name."""


def _describe(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text(value: Any, field: str) -> None:
    """Any string that can be stored as UTF-8."""
    if not isinstance(value, str):
        raise SchemaError(f"field {field}: expected a string, found {_describe(value)}")
    if "\x00" in value or not _encodable(value):
        raise SchemaError(f"field {field}: NUL or lone surrogate in {_describe(value)}")


def _encodable(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def name(value: Any, field: str) -> None:
    """A non-empty string on one line."""
    text(value, field)
    if not value.strip() or not value.isprintable():
        raise SchemaError(f"field {field}: expected a non-empty line, found {_describe(value)}")


def media_path(value: Any, field: str) -> None:
    """A whole path, a URL, or a relative path that does not leave its folder."""
    name(value, field)
    if not _WHOLE_PATH.match(value) and posixpath.normpath(value).split("/")[0] == "..":
        raise SchemaError(
            f"field {field}: {_describe(value)} leaves the folder it is relative to; "
            "write the whole path"
        )


def integer(value: Any, field: str) -> None:
    """An integer that fits in 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_INT64:
        raise SchemaError(f"field {field}: expected an integer, found {_describe(value)}")


def count(value: Any, field: str) -> None:
    """An integer of at least 0."""
    integer(value, field)
    if value < 0:
        raise SchemaError(f"field {field}: expected at least 0, found {value}")


def number(value: Any, field: str) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SchemaError(f"field {field}: expected a finite number, found {_describe(value)}")


def seconds(value: Any, field: str) -> None:
    """A time from the start of the media; small negative values are a late start of the clock."""
    number(value, field)
    if not -1.0 <= value <= 1e6:
        raise SchemaError(f"field {field}: expected seconds between -1 and 1e6, found {value}")


def share(value: Any, field: str) -> None:
    """A number in [0, 1]."""
    number(value, field)
    if not 0.0 <= value <= 1.0:
        raise SchemaError(f"field {field}: expected a number in [0, 1], found {value}")


def box(value: Any, field: str) -> None:
    """[y0, x0, y1, x1] over the frame's height and width; up to one frame outside is allowed."""
    if not isinstance(value, list) or len(value) != 4:
        raise SchemaError(f"field {field}: expected [y0, x0, y1, x1], found {_describe(value)}")
    for corner, position in enumerate(value):
        number(position, f"{field}[{corner}]")
    y0, x0, y1, x1 = value
    if y0 > y1 or x0 > x1 or min(value) < -1.0 or max(value) > 2.0:
        raise SchemaError(
            f"field {field}: expected y0 <= y1, x0 <= x1, normalised, found {_describe(value)}"
        )


def one_of(choices: tuple[str, ...]) -> Check:
    """Check for a word of a fixed list."""

    def check(value: Any, field: str) -> None:
        if value not in choices:
            raise SchemaError(
                f"field {field}: expected one of {', '.join(choices)}, found {_describe(value)}"
            )

    return check


def list_of(check_element: Check) -> Check:
    """Check for a list."""

    def check(value: Any, field: str) -> None:
        if not isinstance(value, list):
            raise SchemaError(f"field {field}: expected a list, found {_describe(value)}")
        for position, element in enumerate(value):
            check_element(element, f"{field}[{position}]")

    return check


def record(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """Check for an object with these fields and no others; interval ends may not precede starts."""
    known = {**required, **(optional or {})}

    def check(value: Any, field: str) -> None:
        if not isinstance(value, dict):
            raise SchemaError(f"field {field}: expected an object, found {_describe(value)}")
        prefix = f"{field}." if field else ""
        for key in required:
            if key not in value:
                raise SchemaError(f"field {prefix}{key}: missing")
        for key, element in value.items():
            if key not in known:
                raise SchemaError(f"field {prefix}{key}: unknown; known are {', '.join(known)}")
            known[key](element, prefix + key)
        _check_interval(value, prefix)

    return check


def _check_interval(value: dict, prefix: str) -> None:
    if "start_seconds" not in value and "end_seconds" not in value:
        return
    for key in ("start_seconds", "end_seconds"):
        if key not in value:
            raise SchemaError(f"field {prefix}{key}: missing, its partner is given")
    if value["end_seconds"] < value["start_seconds"]:
        raise SchemaError(
            f"field {prefix}end_seconds: {value['end_seconds']} is before the start, "
            f"{value['start_seconds']}"
        )


def _anything(value: Any, field: str) -> None:
    if not isinstance(value, dict):
        raise SchemaError(f"field {field}: expected an object, found {_describe(value)}")


_INTERVAL = {"start_seconds": seconds, "end_seconds": seconds}
_LABEL = record({"index": count, "text": text})
CAPTION = record(
    {"text": text},
    {"language": text, "style": text, "relation": one_of(CAPTION_RELATIONS), **_INTERVAL},
)
_PHRASE = record({"text": text}, {"language": text, "sentence": text, "first_word": count})


def _phrase(value: Any, field: str) -> None:
    """A phrase; one of a sentence stands in it, up to letters that hang on its first and last word.

    So "the table" stands in "at the table." and "a bear" in "a bear's face".
    """
    _PHRASE(value, field)
    for key, partner in (("sentence", "first_word"), ("first_word", "sentence")):
        if key in value and partner not in value:
            raise SchemaError(f"field {field}.{partner}: missing, its partner {key} is given")
    if "sentence" in value and not stands_in(value["text"], value["sentence"], value["first_word"]):
        raise SchemaError(
            f"field {field}.first_word: {_describe(value['text'])} does not stand at word "
            f"{value['first_word']} of {_describe(value['sentence'])}"
        )


def stands_in(phrase: str, sentence: str, first_word: int) -> bool:
    """Whether the words of a phrase stand in a sentence from a place on; ends of words may hang."""
    words = phrase.split()
    place = " ".join(sentence.split()[first_word : first_word + len(words)])
    return bool(words) and len(place.split()) == len(words) and " ".join(words) in place


_TRACK_POINT = record(
    {"time_seconds": seconds, "box_yxyx_norm": box},
    {"visibility": share, "depth": integer, "direction": text},
)
_OBJECT = record(
    {"id": integer},
    {
        "label": _LABEL,
        "phrases": list_of(_phrase),
        "track": list_of(_TRACK_POINT),
    },
)
_RELATION = record({"subject_id": integer, "predicate": text, "object_id": integer})
_PHONEME = record({"symbol": text, **_INTERVAL})
_UTTERANCE = record(
    {"text": text, **_INTERVAL}, {"voice": text, "language": text, "phonemes": list_of(_PHONEME)}
)
_QUESTION = record({"text": text, "answer": text}, {"kind": text, "language": text})

CONTENT = {
    "split": one_of(SPLITS),
    "captions": list_of(CAPTION),
    "labels": list_of(_LABEL),
    "objects": list_of(_OBJECT),
    "relations": list_of(_RELATION),
    "utterances": list_of(_UTTERANCE),
    "questions": list_of(_QUESTION),
    "metadata": _anything,
}
_PLACE = {"group": name, "group_index": count}
_ITEM = record({"id": name}, {"media": media_path, **_INTERVAL, **_PLACE, **CONTENT})
_CONTENT = record({}, CONTENT)


def check_item(item: Any, *, require_media: bool = True) -> None:
    """Checks one manifest item.

    Args:
        item: a decoded JSON value.
        require_media: text-only items, without `media`, are an error.

    Raises:
        SchemaError: naming the first field that is wrong.
    """
    _ITEM(item, "")
    if "media" not in item and (require_media or not item.get("captions")):
        raise SchemaError("field media: missing")
    if "start_seconds" in item and item["end_seconds"] <= max(item["start_seconds"], 0.0):
        raise SchemaError(f"field end_seconds: {item['end_seconds']} leaves nothing of the media")
    for key, partner in (("group", "group_index"), ("group_index", "group")):
        if key in item and partner not in item:
            raise SchemaError(f"field {partner}: missing, its partner {key} is given")
    _check_objects(item)


def check_content(content: Any) -> None:
    """Checks an item without `id` and `media`, as a JSON sidecar holds it. Raises SchemaError."""
    _CONTENT(content, "")
    _check_objects(content)


def _check_objects(item: dict) -> None:
    ids = [entry["id"] for entry in item.get("objects", ())]
    if len(ids) != len(set(ids)):
        raise SchemaError(f"field objects: ids repeat in {ids}")
    for position, entry in enumerate(item.get("objects", ())):
        times = [point["time_seconds"] for point in entry.get("track", ())]
        if any(later <= earlier for earlier, later in zip(times, times[1:], strict=False)):
            raise SchemaError(f"field objects[{position}].track: times do not increase")
    for position, relation in enumerate(item.get("relations", ())):
        for key in ("subject_id", "object_id"):
            if relation[key] not in ids:
                raise SchemaError(f"field relations[{position}].{key}: no object {relation[key]}")
