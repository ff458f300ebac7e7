"""Objects of a drawn scene, with phrases that each mean one of them."""

from typing import Any

from PIL import Image

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode
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
    list_field,
    text_field,
)

LANGUAGE = "en"


def picture_size(path: str) -> tuple[int, int] | Reject:
    """(height, width) of a picture, local or URL, or why it has none."""
    try:
        with files.open_read(path) as file, Image.open(file) as picture:
            return picture.height, picture.width
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return Reject(RejectCode.CORRUPT_IMAGE, f"{path} is no picture: {error}")


def drawn_objects(
    scene: dict[str, Any],
    size: tuple[int, int],
    labels: LabelNumbers,
    left_out: LeftOut,
    where: str,
) -> list[dict[str, Any]]:
    """The manifest's objects of a scene: label `<color> <shape>`, and the phrases of their box.

    Args:
        scene: `objects`, a list of `color`, `shape`, `bbox` (left, top, right, bottom in pixels),
            and `referring_derived`, a list of `phrase` and `bbox`; both optional.
        size: height and width of the picture in pixels.
        labels: numbers of labels.
        left_out: counts what has no box in the picture, and phrases whose box is no object's.
        where: place in the file, for errors.

    Raises:
        UserError: a field has another form.
    """
    objects, at_box = PhraseObjects(labels), {}
    for place, entry in enumerate(list_field({"objects": []} | scene, "objects", where)):
        inside = f"{where}, objects[{place}]"
        label = f"{text_field(entry, 'color', inside)} {text_field(entry, 'shape', inside)}"
        box = _box(entry, inside, size)
        if box is None:
            left_out.count("objects outside of their picture")
            continue
        objects.add(None, [box], label)
        at_box[box] = label
    told = list_field({"referring_derived": []} | scene, "referring_derived", where)
    for place, entry in enumerate(told):
        inside = f"{where}, referring_derived[{place}]"
        phrase = " ".join(text_field(entry, "phrase", inside).split())
        box = _box(entry, inside, size)
        if box not in at_box:
            left_out.count("phrases whose box is no object's")
            continue
        objects.add({"text": phrase, "language": LANGUAGE}, [box], at_box[box])
    return objects.entries()


def _box(entry: Any, where: str, size: tuple[int, int]) -> Box | None:
    bbox = checked_numbers(field_of(entry, "bbox", where), 4, "bbox", where)
    return box_in_picture(*bbox, height=size[0], width=size[1])
