"""COCO caption annotations (one JSON file, pictures in a folder) → manifest items."""

from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.coco_details import CocoDetails
from beam_pipelines.sources.media_files import unusable
from mm_models.errors import UserError

LANGUAGE = "en"
NO_DETAILS = CocoDetails()


def read_coco(
    captions_path: str,
    images_folder: str,
    details: CocoDetails = NO_DETAILS,
    account: Account | None = None,
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields an item for each picture in the order of the file, with all of its captions.

    Ids are the pictures' ids in decimal; no item names a split, so that a hash of the id draws it.

    Args:
        captions_path: annotations with `images` (`id`, `file_name`) and `annotations` (`image_id`,
            `caption`); local or URL.
        images_folder: folder that file names are relative to.
        details: boxes, phrases, questions and captions in other languages.
        account: gets what was told of pictures that the file does not list, and blank captions.

    Raises:
        UserError: the file cannot be read, or is no such annotation file.

    Source: MS COCO's caption format, https://cocodataset.org/#format-data.
    """
    account = Account() if account is None else account
    captions: dict[int, list[str]] = {}
    images, annotations = _read(captions_path)
    for annotation in annotations:
        captions.setdefault(annotation["image_id"], []).append(" ".join(_text(annotation).split()))
    _note_what_is_left_out(captions_path, images, captions, details, account)
    for image in images:
        name = str(image["id"])
        texts = [text for text in captions.get(image["id"], []) if text]
        reject = unusable(images_folder, image["file_name"])
        if not texts:
            reject = Reject(RejectCode.BAD_CAPTIONS, f"{image['file_name']} has no caption")
        if reject is not None:
            yield name, reject
        else:
            english = [{"text": text, "language": LANGUAGE} for text in texts]
            item = {"id": name, "media": image["file_name"], "captions": english}
            yield details.add_to(image["id"], item)


def _note_what_is_left_out(
    captions_path: str,
    images: list[dict[str, Any]],
    captions: dict[int, list[str]],
    details: CocoDetails,
    account: Account,
) -> None:
    known = {image["id"] for image in images}
    blank = sum(not text for texts in captions.values() for text in texts)
    account.note(NoteCode.CUE_EMPTY, captions_path, "captions without text", blank)
    for what, told in (("captions", captions), *details.told().items()):
        strangers = sum(len(each) for image, each in told.items() if image not in known)
        detail = f"{what} of pictures that it does not list"
        account.note(NoteCode.CAPTIONS_WITHOUT_MEDIA, captions_path, detail, strangers)
    outside = sum(each.num_outside for told in details.phrases.values() for each in told)
    for what, count in (
        ("boxes of crowds", details.num_crowds),
        ("boxes of phrases outside of their picture", outside),
    ):
        account.note(NoteCode.ROW_LEFT_OUT, captions_path, what, count)


def _read(path: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    try:
        content = parse_line(files.read_bytes(path))
        images = [{"id": int(i["id"]), "file_name": str(i["file_name"])} for i in content["images"]]
        return images, [a | {"image_id": int(a["image_id"])} for a in content["annotations"]]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--captions {path} cannot be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise UserError(
            f"--captions {path} is no COCO caption file ({error!r}); it needs images with id and "
            "file_name, and annotations with image_id and caption"
        ) from error


def _text(annotation: dict[str, Any]) -> str:
    return str(annotation.get("caption", ""))
