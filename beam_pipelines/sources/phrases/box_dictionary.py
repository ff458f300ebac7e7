"""A dict of pictures with their phrases and boxes, as programs that ground phrases exchange it."""

from collections.abc import Iterator
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found
from beam_pipelines.sources.media_files import MediaById
from beam_pipelines.sources.phrases.leftovers import LeftOut
from beam_pipelines.sources.phrases.phrase_objects import (
    Box,
    LabelNumbers,
    Phrase,
    PhraseObjects,
    box_in_picture,
)
from beam_pipelines.sources.phrases.plain_values import (
    checked_numbers,
    field_of,
    list_field,
    read_values,
    shown,
    text_field,
)
from beam_pipelines.sources.phrases.sentence_places import phrase_of_words
from beam_pipelines.sources.phrases.split_lists import SplitLists
from mm_models.errors import UserError

_NO_PLACE = "places of words that are not those of their phrase; it stands for itself"


def read_box_dictionary(
    path: str, images: str, language: str, splits: SplitLists | None, account: Account
) -> Iterator[Found]:
    """Yields an item for each picture.

    Phrases are the annotations' queries; those of `queries` that no annotation has belong to an
    object without a track, as do annotations without a box. Several categories are in alphabetical
    order with `/` between them.

    Args:
        path: a dict, pickled or as JSON, of picture id → `size` (height, width, ...), `queries`,
            `captions`, and `annotations`, a list of `query`, `bbox` (a list of left, top, right,
            bottom in pixels), and optional `category` (a set or list of words), `source_sen` (the
            sentence that the query stands in) and `idx` (places of its words there); local or URL.
        images: folder of files named by id, at any depth.
        language: of captions and phrases.
        splits: which pictures are read, and their splits; None reads all, without a split.
        account: gets the boxes and places of words that were left out.

    Raises:
        UserError: the file cannot be read, or has another form.
    """
    content = read_values(path, "--annotations")
    if not isinstance(content, dict):
        raise UserError(f"--annotations {path} holds {shown(content)}; expected a dict of pictures")
    media, labels, left_out = MediaById(images), LabelNumbers(), LeftOut()
    for key, entry in content.items():
        name, where = str(key), f"--annotations {path}, picture {key}"
        split = splits.split_of(name) if splits else ""
        if split is None:
            left_out.count("pictures that no list of --splits names")
            continue
        found = media.find(name, None)
        if found is None:
            detail = f"no file in {images} is named after {name}"
            yield name, Reject(RejectCode.FILE_MISSING, detail)
            continue
        captions = [
            {"text": " ".join(text.split()), "language": language}
            for text in _texts(entry, "captions", where)
        ]
        objects = _objects(entry, where, language, labels, left_out)
        item = {"id": name, "media": found[0], "captions": captions, "objects": objects}
        yield item | ({"split": split} if split else {})
    left_out.account_for(account, path)


def _texts(entry: Any, field: str, where: str) -> list[str]:
    texts = list_field(entry, field, where)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"{where}, field {field}[{place}]: expected text, found {shown(text)}")
    return [text for text in texts if text.strip()]


def _objects(
    entry: Any, where: str, language: str, labels: LabelNumbers, left_out: LeftOut
) -> list[dict[str, Any]]:
    size = list_field(entry, "size", where)[:2]
    height, width = checked_numbers(size, 2, "size", where, above=0)
    objects, said = PhraseObjects(labels), set()
    for place, annotation in enumerate(list_field(entry, "annotations", where)):
        inside = f"{where}, annotations[{place}]"
        phrase = _phrase(annotation, inside, language, left_out)
        if phrase is None:
            left_out.count("blank queries")
            continue
        said.add(phrase["text"])
        boxes = _boxes(annotation, inside, height, width, left_out)
        objects.add(phrase, boxes, _label(annotation, inside))
    for text in (" ".join(text.split()) for text in _texts(entry, "queries", where)):
        if text not in said:
            objects.add({"text": text, "language": language}, [])
    return objects.entries()


def _phrase(annotation: Any, where: str, language: str, left_out: LeftOut) -> Phrase | None:
    text = " ".join(text_field(annotation, "query", where).split())
    if not text:
        return None
    alone = {"text": text, "language": language}
    if not annotation.get("source_sen"):
        return alone
    sentence = text_field(annotation, "source_sen", where)
    places = list_field(annotation, "idx", where)
    if not all(isinstance(place, int) for place in places):
        raise UserError(f"{where}, field idx: expected whole numbers, found {shown(places)}")
    phrase = phrase_of_words(text, sentence, places, language)
    if phrase is None:
        left_out.count(_NO_PLACE)
    return phrase or alone


def _boxes(
    annotation: Any, where: str, height: float, width: float, left_out: LeftOut
) -> list[Box]:
    boxes = []
    for place, bbox in enumerate(list_field(annotation, "bbox", where)):
        corners = checked_numbers(bbox, 4, f"bbox[{place}]", where)
        box = box_in_picture(*corners, height=height, width=width)
        if box is None:
            left_out.count("boxes outside of their picture")
        else:
            boxes.append(box)
    return boxes


def _label(annotation: Any, where: str) -> str:
    words = field_of(annotation, "category", where) if "category" in annotation else ()
    words = [words] if isinstance(words, str) else words
    is_words = isinstance(words, set | frozenset | list | tuple)
    if not is_words or not all(isinstance(word, str) for word in words):
        raise UserError(f"{where}, field category: expected words, found {shown(words)}")
    return "/".join(sorted(set(words)))
