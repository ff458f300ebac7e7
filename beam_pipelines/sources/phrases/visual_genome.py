"""Visual Genome's region descriptions: phrases with a box each."""

from collections.abc import Iterator
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found
from beam_pipelines.sources.media_files import MediaById
from beam_pipelines.sources.phrases.ascii_text import ascii_text
from beam_pipelines.sources.phrases.json_list import json_entries
from beam_pipelines.sources.phrases.leftovers import LeftOut
from beam_pipelines.sources.phrases.phrase_objects import (
    LabelNumbers,
    PhraseObjects,
    box_in_picture,
)
from beam_pipelines.sources.phrases.plain_values import (
    int_field,
    list_field,
    number_field,
    text_field,
)
from beam_pipelines.sources.phrases.split_lists import SplitLists

LANGUAGE = "en"
MAX_WORDS = 9
_NO_LIST = "pictures that no list of --splits names"
_TOO_LONG = f"phrases of more than {MAX_WORDS} words"
_OTHER_SIGNS = "phrases with signs that have no plain form"


def read_visual_genome(
    regions_path: str,
    image_data_path: str,
    images: str,
    splits: SplitLists | None,
    account: Account,
) -> Iterator[Found]:
    """Yields an item for each picture, whose objects are its regions.

    Phrases are kept that have 1 to 9 words on one line; quotes, dashes and letters with accents
    become plain ones. Boxes are cut to the picture. A phrase that several regions share is one
    phrase of several objects, which have no label.

    Args:
        regions_path: `region_descriptions.json`: a list of `id` and `regions` (`phrase`, `x`, `y`,
            `width`, `height` in pixels); local or URL.
        image_data_path: `image_data.json`: a list of `image_id`, `width`, `height`.
        images: folder of files named by id, at any depth (`VG_100K/1.jpg`).
        splits: which pictures are read, and their splits; None reads all, without a split.
        account: gets the phrases and boxes that were left out.

    Raises:
        UserError: a file cannot be read, or has another form.

    Source: Visual Genome (Krishna and others, 2017).
    """
    sizes = _sizes(image_data_path)
    media, left_out = MediaById(images), LeftOut()
    for place, entry in enumerate(json_entries(regions_path, "--regions")):
        where = f"--regions {regions_path}, entry {place}"
        number = int_field(entry, "id", where)
        name = str(number)
        split = splits.split_of(name) if splits else ""
        if split is None:
            left_out.count(_NO_LIST)
            continue
        regions, found = list_field(entry, "regions", where), media.find(name, None)
        if found is None:
            detail = f"no file in {images} is named after {name}"
            yield name, Reject(RejectCode.FILE_MISSING, detail)
        elif number not in sizes:
            yield name, Reject(RejectCode.BAD_METADATA, f"{image_data_path} does not list {name}")
        elif objects := _objects(regions, where, sizes[number], left_out):
            item = {"id": name, "media": found[0], "objects": objects}
            yield item | ({"split": split} if split else {})
        else:
            detail = "none of its phrases is kept"
            yield name, Reject(RejectCode.BAD_CAPTIONS, detail)
    left_out.account_for(account, regions_path)


def _sizes(path: str) -> dict[int, tuple[float, float]]:
    sizes = {}
    for place, entry in enumerate(json_entries(path, "--image_data")):
        where = f"--image_data {path}, entry {place}"
        height, width = (number_field(entry, f, where, above=0) for f in ("height", "width"))
        sizes[int_field(entry, "image_id", where)] = height, width
    return sizes


def _objects(
    regions: list[Any], where: str, size: tuple[float, float], left_out: LeftOut
) -> list[dict[str, Any]]:
    objects = PhraseObjects(LabelNumbers())
    for place, region in enumerate(regions):
        inside = f"{where}, regions[{place}]"
        text = _kept(text_field(region, "phrase", inside), left_out)
        left, top = (number_field(region, name, inside) for name in ("x", "y"))
        width, height = (number_field(region, name, inside) for name in ("width", "height"))
        box = box_in_picture(left, top, left + width, top + height, height=size[0], width=size[1])
        if text and box:
            objects.add({"text": text, "language": LANGUAGE}, [box])
        elif text:
            left_out.count("regions outside of their picture")
    return objects.entries()


def _kept(phrase: str, left_out: LeftOut) -> str | None:
    """The phrase in plain signs, or None where it is left out."""
    if "\n" in phrase.strip():
        left_out.count("phrases of several lines")
        return None
    plain = ascii_text(phrase)
    words = (plain or "").split()
    if 1 <= len(words) <= MAX_WORDS:
        return " ".join(words)
    left_out.count(_OTHER_SIGNS if plain is None else _TOO_LONG if words else "blank phrases")
    return None
