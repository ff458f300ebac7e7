"""Flickr30k Entities: a file of marked-up sentences and one of boxes for each picture."""

from collections.abc import Iterator

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found
from beam_pipelines.sources.media_files import unusable
from beam_pipelines.sources.phrases.entity_boxes import EntityBoxes, parse_entity_boxes
from beam_pipelines.sources.phrases.entity_markup import EntityPhrase, parse_sentence
from beam_pipelines.sources.phrases.leftovers import LeftOut
from beam_pipelines.sources.phrases.phrase_objects import LabelNumbers, PhraseObjects
from beam_pipelines.sources.phrases.split_lists import SplitLists
from mm_models.errors import UserError

LANGUAGE = "en"
# Of phrases that mean nothing visible.
NO_ENTITY = "0"
_LISTS = ("train.txt", "val.txt", "test.txt")


def read_flickr30k_entities(folder: str, images: str, account: Account) -> Iterator[Found]:
    """Yields an item for each picture of the lists, with its sentences as captions.

    An object is a box with the categories of a phrase that means it; several categories are in
    alphabetical order with `/` between them. A phrase of entity 0, or of an entity without boxes,
    belongs to an object without a track.

    Args:
        folder: `Sentences/<id>.txt`, `Annotations/<id>.xml`, and lists of ids `train.txt`,
            `val.txt`, `test.txt`, of which those that are there are read; local or URL.
        images: folder of `<id>.jpg`.
        account: gets the boxes that no sentence means, and those outside of their picture.

    Raises:
        UserError: there is no list, or a file has another form.

    Source: Flickr30k Entities (Plummer and others, ICCV 2015).
    """
    lists = [path for name in _LISTS if files.exists(path := files.join(folder, name))]
    if not lists:
        raise UserError(f"--folder {folder} has none of {', '.join(_LISTS)}, which list the ids")
    labels, left_out = LabelNumbers(), LeftOut()
    for name, split in SplitLists(lists, "--folder").names.items():
        media = f"{name}.jpg"
        reject = unusable(images, media)
        paths = [
            files.join(folder, inside) for inside in (f"Sentences/{name}.txt", _annotation(name))
        ]
        missing = [path for path in paths if not files.exists(path)]
        if reject is None and missing:
            reject = Reject(RejectCode.FILE_MISSING, f"{missing[0]} is missing")
        if reject is not None:
            yield name, reject
            continue
        sentences = _sentences(paths[0])
        if not sentences:
            yield name, Reject(RejectCode.BAD_CAPTIONS, f"{paths[0]} holds no sentence")
            continue
        captions = [{"text": text, "language": LANGUAGE} for text, _ in sentences]
        phrases = [each for _, found in sentences for each in found]
        objects = _objects(phrases, _boxes(paths[1]), labels, left_out)
        yield {
            "id": name,
            "media": media,
            "split": split,
            "captions": captions,
            "objects": objects,
        }
    left_out.account_for(account, folder)


def _annotation(name: str) -> str:
    return f"Annotations/{name}.xml"


def _sentences(path: str) -> list[tuple[str, list[EntityPhrase]]]:
    try:
        lines = files.read_bytes(path).decode().splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"--folder: {path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                found.append(parse_sentence(line, LANGUAGE))
        except ValueError as error:
            raise UserError(f"--folder: {path} line {number}: {error}") from error
    return found


def _boxes(path: str) -> EntityBoxes:
    try:
        return parse_entity_boxes(files.read_bytes(path))
    except (OSError, ValueError) as error:
        raise UserError(f"--folder: {path}: {error}") from error


def _objects(
    phrases: list[EntityPhrase], told: EntityBoxes, labels: LabelNumbers, left_out: LeftOut
) -> list[dict]:
    objects = PhraseObjects(labels)
    for each in phrases:
        boxes = [] if each.chain == NO_ENTITY else told.boxes.get(each.chain, [])
        objects.add(each.phrase, boxes, each.label, each.chain)
    said = {each.chain for each in phrases}
    unsaid = sum(len(boxes) for chain, boxes in told.boxes.items() if chain not in said)
    left_out.count("boxes of entities that no sentence names", unsaid)
    left_out.count("boxes outside of their picture", told.num_outside)
    return objects.entries()
