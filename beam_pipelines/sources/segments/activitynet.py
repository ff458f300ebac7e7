"""ActivityNet Captions: video id → `duration`, `timestamps`, `sentences`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from beam_pipelines.items.manifest import split_of
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.segments.annotated_video import (
    AnnotatedVideo,
    checked_segment,
    shortened,
)
from beam_pipelines.sources.segments.annotation_file import Leftovers, duration_of, read_object
from beam_pipelines.sources.segments.split_ids import SplitIds

_VIDEO = ("duration", "timestamps", "sentences")
_HALVES = {"val": 0.5, "test": 0.5}

Videos = Iterator[AnnotatedVideo | tuple[str, Reject]]


def read_activitynet(
    train: Sequence[str],
    reference_sets: Sequence[str],
    split_ids: SplitIds | None,
    account: Account,
) -> Videos:
    """Yields the videos of the annotation files.

    The official test videos have no captions, so the validation videos are divided into a
    validation and a testing half, all of a video's annotators on the same side.

    Args:
        train: files of training videos, such as `train.json`; local or URLs.
        reference_sets: files of validation videos, one for each annotator (`val_1.json`,
            `val_2.json`).
        split_ids: halves of the validation videos; None: by `manifest.stable_hash(id, "split")`,
            the lower half of its range being validation.
        account: gets the fields that are metadata now, and those that were left out.

    Raises:
        UserError: a file has another form.

    Source: ActivityNet Captions (Krishna et al., ICCV 2017).
    """
    for path in train:
        yield from _videos(path, lambda name: "train", 0, account)
    half = split_ids.split_of if split_ids else _half
    for number, path in enumerate(reference_sets, start=1):
        yield from _videos(path, half, number if len(reference_sets) > 1 else 0, account)


def _half(name: str) -> str:
    return split_of({"id": name}, _HALVES)


def _videos(
    path: str, split: Callable[[str], str | Reject], reference_set: int, account: Account
) -> Videos:
    leftovers = Leftovers(path)
    for name, entry in read_object(path).items():
        found = _video(name, entry, leftovers)
        side = split(name)
        if isinstance(found, Reject) or isinstance(side, Reject):
            yield name, found if isinstance(found, Reject) else side
        else:
            yield AnnotatedVideo(name, split=side, reference_set=reference_set, **found)
    leftovers.account_for(account)


def _video(name: str, entry: Any, leftovers: Leftovers) -> dict[str, Any] | Reject:
    """Fields of an `AnnotatedVideo`."""
    lists = [entry.get(key) for key in _VIDEO[1:]] if isinstance(entry, dict) else [None]
    if not all(isinstance(each, list) for each in lists):
        detail = f"no object with lists of timestamps and sentences: {shortened(entry)}"
        return Reject(RejectCode.BAD_METADATA, detail)
    times, texts = lists
    if len(times) != len(texts):
        detail = f"there are {len(times)} timestamps and {len(texts)} sentences"
        return Reject(RejectCode.BAD_METADATA, detail)
    return {
        "segments": [checked_segment(*each) for each in zip(times, texts, strict=True)],
        "duration_seconds": duration_of(entry),
        "metadata": leftovers.metadata(entry, _VIDEO),
    }
