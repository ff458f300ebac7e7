"""MSR-VTT: `videos` and `sentences`, many sentences a video."""

import collections
from collections.abc import Iterator
from typing import Any

from beam_pipelines.rejects import Reject
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.segments.annotated_video import AnnotatedSegment, AnnotatedVideo
from beam_pipelines.sources.segments.annotation_file import Leftovers, read_object, split_named
from mm_models.errors import UserError

_VIDEO = ("video_id", "split")


def read_msrvtt(path: str, account: Account) -> Iterator[AnnotatedVideo | tuple[str, Reject]]:
    """Yields the videos of an annotation file, each one segment with all of its sentences.

    The files of the data set are cut clips, so `start time` and `end time`, which are those in the
    video that a clip was taken from, are metadata.

    Args:
        path: `videodatainfo.json`, or another of its form; local or URL.
        account: gets what was left out.

    Raises:
        UserError: the file has another form.

    Source: MSR-VTT (Xu et al., CVPR 2016).
    """
    content = read_object(path)
    videos, sentences = (_objects(path, content, name) for name in ("videos", "sentences"))
    texts: dict[str, list[str]] = collections.defaultdict(list)
    for place, sentence in enumerate(sentences):
        texts[_text(path, "sentences", place, sentence, "video_id")].append(
            _text(path, "sentences", place, sentence, "caption")
        )
    leftovers = Leftovers(path)
    for place, video in enumerate(videos):
        name = _text(path, "videos", place, video, "video_id")
        yield _video(name, video, tuple(texts.pop(name, ())), leftovers)
    strangers = sum(map(len, texts.values()))
    detail = "sentences of videos that it does not list"
    account.note(NoteCode.CAPTIONS_WITHOUT_MEDIA, path, detail, strangers)
    leftovers.account_for(account)


def _video(
    name: str, video: dict[str, Any], texts: tuple[str, ...], leftovers: Leftovers
) -> AnnotatedVideo | tuple[str, Reject]:
    split = split_named(video.get("split"))
    if isinstance(split, Reject):
        return name, split
    metadata = leftovers.metadata(video, _VIDEO)
    return AnnotatedVideo(name, [AnnotatedSegment(None, texts)], split, metadata=metadata)


def _objects(path: str, content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = content.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UserError(
            f"--annotations {path} is no MSR-VTT annotation file; it needs lists of objects "
            f"`videos` and `sentences`, and {name} is none"
        )
    return value


def _text(path: str, of: str, place: int, entry: dict[str, Any], field: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str):
        raise UserError(f"--annotations {path}: {of}[{place}].{field} is {value!r}, no text")
    return value
