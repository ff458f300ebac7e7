"""NLVR examples (JSON Lines: picture, sentence, whether it is true) → manifest items."""

import collections
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line, split_of
from beam_pipelines.rejects import Reject
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.drawn_scenes import drawn_objects, picture_size
from beam_pipelines.sources.media_files import unusable
from beam_pipelines.sources.phrases.leftovers import LeftOut
from beam_pipelines.sources.phrases.phrase_objects import LabelNumbers
from mm_models.errors import UserError

LABELS = ("false", "true")
_FIELDS = ("identifier", "image", "sentence", "label")
_OBJECT_FIELDS = ("objects", "referring_derived")
# Of the captions, so that a data set can keep those that describe their picture.
STYLES = {"false": "false_sentence", "true": "true_sentence"}


def read_nlvr(
    examples_path: str,
    images_folder: str,
    shares: dict[str, float],
    account: Account | None = None,
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields an item for each example: the sentence as caption, and whether it is true as label.

    A false sentence has the relation `wrong` and the style `false_sentence`. Examples with the same
    number before the dash of their identifier, or with the same sentence, share a split, so that no
    sentence is on two sides. What is drawn becomes objects of labels such as `blue circle`, with
    the phrases whose box is theirs.

    Args:
        examples_path: a line holds `identifier`, `image`, `sentence` and `label`, and may hold
            `objects` (`color`, `shape`, `bbox` as left, top, right, bottom in pixels) and
            `referring_derived` (`phrase`, `bbox`); local or URL.
        images_folder: folder that file names are relative to.
        shares: split → share of the sentences, summing to 1; a hash of the sentence draws.
        account: gets the fields that examples have beside these.

    Raises:
        UserError: the file cannot be read, or a line is no such example.

    Source: Cornell NLVR (Suhr and others, ACL 2017).
    """
    account = Account() if account is None else account
    sentences: dict[str, str] = {}
    others: collections.Counter[str] = collections.Counter()
    labels, left_out = LabelNumbers(), LeftOut()
    for number, line in enumerate(_lines(examples_path), start=1):
        if not line.strip():
            continue
        example, drawn = _example(examples_path, number, line, others)
        group = example["identifier"].partition("-")[0]
        sentence = sentences.setdefault(group, _plain(example["sentence"]))
        reject = unusable(images_folder, example["image"])
        size = None
        if reject is None and drawn:
            size = picture_size(files.join(images_folder, example["image"]))
            reject = size if isinstance(size, Reject) else None
        if reject is not None:
            yield example["identifier"], reject
            continue
        where = f"--examples {examples_path} line {number}"
        objects = drawn_objects(drawn, size, labels, left_out, where) if drawn else []
        item = _item(example, split_of({"id": sentence}, shares))
        yield item | ({"objects": objects} if objects else {})
    left_out.account_for(account, examples_path)
    for name, count in sorted(others.items()):
        account.note(NoteCode.FIELD_LEFT_OUT, f"field {name}", "examples hold it", count)


def _lines(path: str) -> list[bytes]:
    try:
        return files.read_bytes(path).splitlines()
    except OSError as error:
        raise UserError(f"--examples {path} cannot be read: {error}") from error


def _example(
    path: str, number: int, line: bytes, others: collections.Counter[str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """What is said of a picture, and what is told of the objects drawn in it."""
    try:
        value = parse_line(line)
        example = {key: str(value[key]) for key in _FIELDS}
        drawn = {key: value[key] for key in _OBJECT_FIELDS if value.get(key)}
        others.update(name for name in value if name not in (*_FIELDS, *_OBJECT_FIELDS))
        if example["label"] not in LABELS:
            raise ValueError(f"label {example['label']!r} is neither true nor false")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"--examples {path} line {number} is no NLVR example: {error!r}") from error
    return example, drawn


def _item(example: dict[str, str], split: str) -> dict[str, Any]:
    label = example["label"]
    caption = {
        "text": " ".join(example["sentence"].split()),
        "language": "en",
        "style": STYLES[label],
        "relation": "moment" if label == "true" else "wrong",
    }
    return {
        "id": example["identifier"],
        "media": example["image"],
        "split": split,
        "captions": [caption],
        "labels": [{"index": LABELS.index(label), "text": label}],
    }


def _plain(sentence: str) -> str:
    """The sentence without what two writings of it may differ in."""
    kept = "".join(c if c.isalnum() else " " for c in sentence.casefold())
    return " ".join(kept.split())
