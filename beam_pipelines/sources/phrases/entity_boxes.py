"""Boxes of the entities of a picture, from an XML file."""

import dataclasses
from xml.etree import ElementTree

from beam_pipelines.sources.phrases.phrase_objects import Box, box_in_picture

_FLAGS = ("scene", "nobndbox")


@dataclasses.dataclass(frozen=True)
class EntityBoxes:
    """What a picture's annotation says of its entities.

    Attributes:
        boxes: y0, x0, y1, x1 in shares of the picture, by entity.
        num_outside: boxes of which nothing lies in the picture.
    """

    boxes: dict[str, list[Box]]
    num_outside: int


def parse_entity_boxes(content: bytes) -> EntityBoxes:
    """Reads `size` (width, height) and `object` (`name`s of entities; `bndbox` with xmin, ymin,
    xmax and ymax, or the flags `scene` and `nobndbox`).

    Corners are pixels counted from 1, both inside of the box.

    Raises:
        ValueError: it is no XML of this form; the text names the field.
    """
    if b"<!" in content.replace(b"<!--", b""):
        raise ValueError("it declares a document type, which these files have none of")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    height, width = (_number(root, f"size/{name}", least=1) for name in ("height", "width"))
    boxes: dict[str, list[Box]] = {}
    num_outside = 0
    for place, entry in enumerate(root.findall("object")):
        names = [(name.text or "").strip() for name in entry.findall("name")]
        if not all(names) or not names:
            raise ValueError(f"object {place}, field name: missing")
        if entry.find("bndbox") is None:
            # Such entities are the whole scene, or are nowhere to be seen.
            if not any(_number(entry, flag, f"object {place}, ") for flag in _FLAGS):
                raise ValueError(
                    f"object {place} has no bndbox and neither of {' and '.join(_FLAGS)}"
                )
            continue
        left, top, right, bottom = (
            _number(entry, f"bndbox/{name}", f"object {place}, ")
            for name in ("xmin", "ymin", "xmax", "ymax")
        )
        box = box_in_picture(left - 1, top - 1, right, bottom, height=height, width=width)
        num_outside += box is None
        for name in names if box else ():
            boxes.setdefault(name, []).append(box)
    return EntityBoxes(boxes, num_outside)


def _number(
    entry: ElementTree.Element, field: str, where: str = "", *, least: float | None = None
) -> int:
    text = (entry.findtext(field) or "").strip()
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{where}field {field}: expected a whole number, found {text!r}") from None
    if least is not None and value < least:
        raise ValueError(f"{where}field {field}: expected at least {least}, found {value}")
    return value
