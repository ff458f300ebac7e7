"""ReferIt's expressions for regions (RefCLEF), split by UNC: `refs(unc).p`, `instances.json`."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found
from beam_pipelines.sources.media_files import MediaById, unusable
from beam_pipelines.sources.phrases.leftovers import LeftOut
from beam_pipelines.sources.phrases.phrase_objects import (
    Box,
    LabelNumbers,
    PhraseObjects,
    box_in_picture,
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
from mm_models.errors import UserError

LANGUAGE = "en"
_ROUNDING_PIXELS = 1.0
_OUTSIDE = "boxes that go beyond their picture; their expressions are kept without a box"


@dataclasses.dataclass(frozen=True)
class _Instances:
    """`instances.json`: file and (height, width) by picture; (bbox, label) by annotation."""

    images: dict[int, tuple[str, float, float]]
    boxes: dict[int, tuple[list[float], str]]
    labels: dict[str, int]


def read_refclef(
    refs_path: str, instances_path: str, images: str, account: Account
) -> Iterator[Found]:
    """Yields an item for each picture that expressions are about.

    Each different expression is a phrase, that stands for itself, of the object that it refers to.
    A box that goes beyond its picture is dropped, and the object has no track. Splits that begin
    with `test` (`testA`, `testB`, `testC`) are the test split.

    Args:
        refs_path: a list, pickled or as JSON, of `image_id`, `ann_id`, `split` and `sentences`
            (`raw`, or else `sent`); local or URL.
        instances_path: COCO's instance format: `images` (`id`, `file_name`, `height`, `width`),
            `annotations` (`id`, `category_id`, `bbox` as left, top, width, height), `categories`.
        images: folder that file names are relative to, or that has files of these names.
        account: gets the boxes that were dropped, and expressions of unknown pictures or regions.

    Raises:
        UserError: a file cannot be read, or has another form.

    Source: ReferItGame (Kazemzadeh and others, EMNLP 2014); layout of the REFER toolbox.
    """
    instances = _instances(instances_path)
    refs, left_out = _refs_by_image(refs_path), LeftOut()
    media, labels = MediaById(images), LabelNumbers(instances.labels)
    for number, found in refs.items():
        name = str(number)
        if number not in instances.images:
            yield name, Reject(RejectCode.BAD_METADATA, f"{instances_path} does not list {name}")
            continue
        file_name, height, width = instances.images[number]
        path = _media(images, file_name, media)
        if isinstance(path, Reject):
            yield name, path
            continue
        splits = {split for split, _, _ in found}
        if len(splits) > 1:
            detail = f"its expressions are in several splits: {', '.join(sorted(splits))}"
            yield name, Reject(RejectCode.BAD_METADATA, detail)
            continue
        objects = PhraseObjects(labels)
        for _, annotation, expressions in found:
            if annotation not in instances.boxes:
                left_out.count("expressions of regions that are not listed", len(expressions))
                continue
            bbox, label = instances.boxes[annotation]
            boxes = _boxes(bbox, height, width, left_out)
            for text in expressions:
                objects.add({"text": text, "language": LANGUAGE}, boxes, label, str(annotation))
        if entries := objects.entries():
            yield {"id": name, "media": path, "split": splits.pop(), "objects": entries}
        else:
            yield name, Reject(RejectCode.BAD_CAPTIONS, "none of its expressions is kept")
    left_out.account_for(account, refs_path)


def _media(images: str, file_name: str, media: MediaById) -> str | Reject:
    reject = unusable(images, file_name)
    if reject is None or reject.code is not RejectCode.FILE_MISSING:
        return reject or file_name
    found = media.find(os.path.splitext(os.path.basename(file_name))[0], None)
    return found[0] if found else reject


def _boxes(bbox: list[float], height: float, width: float, left_out: LeftOut) -> list[Box]:
    left, top, box_width, box_height = bbox
    right, bottom = left + box_width, top + box_height
    beyond = max(-left, -top, right - width, bottom - height)
    box = box_in_picture(left, top, right, bottom, height=height, width=width)
    if box is None or beyond > _ROUNDING_PIXELS:
        left_out.count(_OUTSIDE)
        return []
    return [box]


def _refs_by_image(path: str) -> dict[int, list[tuple[str, int, list[str]]]]:
    """(split, annotation, expressions) of each reference, by picture."""
    content = read_values(path, "--refs")
    if not isinstance(content, list):
        raise UserError(f"--refs {path} holds no list of references")
    found: dict[int, list[tuple[str, int, list[str]]]] = {}
    for place, ref in enumerate(content):
        where = f"--refs {path}, entry {place}"
        expressions = [
            _expression(sentence, f"{where}, sentences[{at}]")
            for at, sentence in enumerate(list_field(ref, "sentences", where))
        ]
        known = _split(text_field(ref, "split", where), where)
        reference = known, int_field(ref, "ann_id", where), [text for text in expressions if text]
        found.setdefault(int_field(ref, "image_id", where), []).append(reference)
    return found


def _expression(sentence: Any, where: str) -> str:
    field_of(sentence, "sent", where)
    text = text_field(sentence, "raw" if "raw" in sentence else "sent", where)
    return " ".join(text.split())


def _split(word: str, where: str) -> str:
    if word in ("train", "val"):
        return word
    if word.startswith("test"):
        return "test"
    raise UserError(f"{where}, field split: expected train, val or test..., found {word!r}")


def _instances(path: str) -> _Instances:
    content = read_values(path, "--instances")
    where = f"--instances {path}"
    images, boxes, names = {}, {}, {}
    for entry, here in _entries(content, "images", where):
        height, width = (number_field(entry, f, here, above=0) for f in ("height", "width"))
        images[int_field(entry, "id", here)] = text_field(entry, "file_name", here), height, width
    for entry, here in _entries(content, "categories", where):
        names[int_field(entry, "id", here)] = text_field(entry, "name", here)
    for entry, here in _entries(content, "annotations", where):
        bbox = checked_numbers(field_of(entry, "bbox", here), 4, "bbox", here)
        category = int_field(entry, "category_id", here)
        if category not in names:
            raise UserError(f"{here}, field category_id: {category} is none of the categories")
        boxes[int_field(entry, "id", here)] = bbox, names[category]
    labels = {names[number]: place for place, number in reversed(list(enumerate(sorted(names))))}
    return _Instances(images, boxes, labels)


def _entries(content: Any, field: str, where: str) -> Iterator[tuple[Any, str]]:
    for place, entry in enumerate(list_field(content, field, where)):
        yield entry, f"{where}, {field}[{place}]"
