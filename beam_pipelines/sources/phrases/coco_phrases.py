"""Phrases of COCO captions with boxes, and which objects of COCO's instances they mean."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from beam_pipelines.sources.phrases.phrase_objects import (
    Box,
    LabelNumbers,
    Phrase,
    box_in_picture,
    still_track,
)
from beam_pipelines.sources.phrases.plain_values import (
    checked_numbers,
    field_of,
    int_field,
    list_field,
    number_field,
    read_values,
    text_field,
)
from beam_pipelines.sources.phrases.sentence_places import phrase_of_characters
from mm_models.errors import UserError

LANGUAGE = "en"
# Edges that are nearer than this share of the picture, a pixel of 500, are of one box.
_SAME_EDGE = 0.002


@dataclasses.dataclass(frozen=True)
class CocoPhrase:
    """A phrase of a caption.

    Attributes:
        phrase: the manifest's phrase, with the caption as its sentence.
        label: the manifest's label of what it means.
        boxes_yxyx_norm: boxes of what it means, cut to the picture; none where it has none.
        num_outside: boxes of which nothing lies in the picture.
    """

    phrase: Phrase
    label: dict[str, Any]
    boxes_yxyx_norm: list[Box]
    num_outside: int


def read_coco_phrases(
    path: str, captions_path: str, known_labels: dict[str, int]
) -> dict[int, list[CocoPhrase]]:
    """Reads phrases by picture id.

    Args:
        path: a list, alone or under `data`, of `image_id`, `caption`, and `phrases`: a list of
            `start` and `end` (characters of the caption), `text` (these characters), `category`,
            and `boxes` (a list of left, top, right, bottom in pixels); local or URL.
        captions_path: COCO's captions, whose `images` have `height` and `width`.
        known_labels: numbers of the categories of the instances; others come behind them, in
            alphabetical order.

    Raises:
        UserError: a file cannot be read, or has another form.
    """
    content = read_values(path, "--phrases")
    entries = content.get("data") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise UserError(f"--phrases {path} holds no list of captions with phrases")
    sizes = _sizes(captions_path)
    listed = list(_phrases(path, entries))
    labels = LabelNumbers(known_labels)
    for name in sorted({text_field(each, "category", where) for _, _, each, where in listed}):
        labels.label(name)
    found: dict[int, list[CocoPhrase]] = {}
    for image, caption, each, where in listed:
        # What is told of a picture that is not listed is left out, whatever its size.
        height, width = sizes.get(image, (1.0, 1.0))
        boxes = [
            checked_numbers(box, 4, f"boxes[{place}]", where)
            for place, box in enumerate(list_field(each, "boxes", where))
        ]
        inside = [box_in_picture(*box, height=height, width=width) for box in boxes]
        kept = [box for box in inside if box]
        phrase = _phrase(each, caption, where)
        label = labels.label(text_field(each, "category", where))
        coco_phrase = CocoPhrase(phrase, label, kept, len(boxes) - len(kept))
        found.setdefault(image, []).append(coco_phrase)
    return found


def _phrases(path: str, entries: list[Any]) -> Iterator[tuple[int, str, Any, str]]:
    """(picture id, caption, phrase as the file has it, its place in the file)."""
    for place, entry in enumerate(entries):
        where = f"--phrases {path}, entry {place}"
        caption = text_field(entry, "caption", where)
        for at, phrase in enumerate(list_field(entry, "phrases", where)):
            yield int_field(entry, "image_id", where), caption, phrase, f"{where}, phrases[{at}]"


def _phrase(entry: Any, caption: str, where: str) -> Phrase:
    start, end = (int_field(entry, name, where) for name in ("start", "end"))
    text = text_field(entry, "text", where)
    phrase = phrase_of_characters(caption, start, end, LANGUAGE) if 0 <= start < end else None
    if phrase is None or phrase["text"] != " ".join(text.split()):
        raise UserError(
            f"{where}, field text: {text!r} is not what stands at characters {start} to {end} of "
            "the caption"
        )
    return phrase


def _sizes(captions_path: str) -> dict[int, tuple[float, float]]:
    where = f"--captions {captions_path}"
    sizes = {}
    images = field_of(read_values(captions_path, "--captions"), "images", where)
    for place, image in enumerate(images if isinstance(images, list) else ()):
        here = f"{where}, images[{place}]"
        height, width = (number_field(image, f, here, above=0) for f in ("height", "width"))
        sizes[int_field(image, "id", here)] = height, width
    return sizes


def with_phrases(objects: list[dict[str, Any]], phrases: list[CocoPhrase]) -> list[dict[str, Any]]:
    """The objects of a picture with the phrases that mean them.

    A box of a phrase means the object of the same label that has the same box, up to a pixel. Where
    there is none, or the phrase has no box, it gets an object of its own, without a track if there
    is no box.

    Args:
        objects: the manifest's objects, with ids 0, 1, ...
        phrases: of the picture.
    """
    found = [dict(entry) for entry in objects]
    for each in phrases:
        for box in each.boxes_yxyx_norm or [None]:
            entry = _meant(found, each.label, box)
            if entry is None:
                track = {"track": still_track(box)} if box else {}
                entry = {"id": len(found), "label": each.label, **track}
                found.append(entry)
            if each.phrase not in entry.get("phrases", ()):
                entry["phrases"] = [*entry.get("phrases", ()), each.phrase]
    return found


def _meant(
    objects: list[dict[str, Any]], label: dict[str, Any], box: Box | None
) -> dict[str, Any] | None:
    nearest: tuple[float, dict[str, Any] | None] = (_SAME_EDGE, None)
    for entry in objects:
        if entry.get("label") != label or bool(entry.get("track")) != (box is not None):
            continue
        if box is None:
            return entry
        edges = entry["track"][0]["box_yxyx_norm"]
        gap = max(abs(ours - theirs) for ours, theirs in zip(box, edges, strict=True))
        nearest = min(nearest, (gap, entry), key=lambda pair: pair[0])
    return nearest[1]
