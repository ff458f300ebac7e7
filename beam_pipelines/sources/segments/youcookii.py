"""YouCookII: `database` → video id → `subset`, `duration`, `annotations` with `segment` and
`sentence`."""

from collections.abc import Iterator
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.segments.annotated_video import (
    AnnotatedSegment,
    AnnotatedVideo,
    checked_segment,
    shortened,
)
from beam_pipelines.sources.segments.annotation_file import (
    Leftovers,
    duration_of,
    read_object,
    split_named,
)
from mm_models.errors import UserError

_VIDEO = ("subset", "duration", "annotations")
_SEGMENT = ("segment", "sentence")


def read_youcookii(path: str, account: Account) -> Iterator[AnnotatedVideo | tuple[str, Reject]]:
    """Yields the videos of an annotation file.

    Args:
        path: `youcookii_annotations_trainval.json`, or another of its form; local or URL.
        account: gets the fields that are metadata now, and those that were left out.

    Raises:
        UserError: the file has another form.

    Source: YouCook2 (Zhou, Xu and Corso, AAAI 2018).
    """
    database = read_object(path).get("database")
    if not isinstance(database, dict):
        raise UserError(
            f"--annotations {path} is no YouCookII annotation file; it needs an object "
            "`database` with an entry for each video"
        )
    leftovers = Leftovers(path)
    for name, entry in database.items():
        yield _video(name, entry, leftovers)
    leftovers.account_for(account)


def _video(name: str, entry: Any, leftovers: Leftovers) -> AnnotatedVideo | tuple[str, Reject]:
    annotations = entry.get("annotations", []) if isinstance(entry, dict) else None
    if not isinstance(annotations, list):
        detail = f"no object with a list of annotations: {shortened(entry)}"
        return name, Reject(RejectCode.BAD_METADATA, detail)
    split = split_named(entry.get("subset"))
    if isinstance(split, Reject):
        return name, split
    return AnnotatedVideo(
        name=name,
        segments=[_segment(each, leftovers) for each in annotations],
        split=split,
        duration_seconds=duration_of(entry),
        metadata=leftovers.metadata(entry, _VIDEO),
    )


def _segment(entry: Any, leftovers: Leftovers) -> AnnotatedSegment | Reject:
    if not isinstance(entry, dict):
        detail = f"no object with a segment and a sentence: {shortened(entry)}"
        return Reject(RejectCode.BAD_METADATA, detail)
    metadata = leftovers.metadata(entry, _SEGMENT)
    return checked_segment(entry.get("segment"), entry.get("sentence"), metadata)
