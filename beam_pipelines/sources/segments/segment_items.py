"""Annotated videos and a folder of media → one manifest item a segment."""

import collections
from collections.abc import Iterable, Iterator
from typing import Any

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found, NoteCode
from beam_pipelines.sources.captions.parsed import MAX_CAPTION_CHARACTERS
from beam_pipelines.sources.media_files import MediaById, unusable
from beam_pipelines.sources.segments.annotated_video import AnnotatedSegment, AnnotatedVideo
from beam_pipelines.sources.segments.rounding import Rounding, Span, exact

REFERENCE_STYLE = "reference_{}"


def segment_items(
    videos: Iterable[AnnotatedVideo | tuple[str, Reject]],
    media_folder: str,
    *,
    language: str = "",
    rounding: Rounding = exact,
    account: Account | None = None,
) -> Iterator[Found]:
    """Yields an item for each segment, in order, and (name, Reject) for those there is none of.

    Ids are `<group>#<number of the segment>`. Where several annotators cut a video, captions have
    the style `reference_1`, `reference_2`, and the groups are `<video>@1`, `<video>@2`.

    Args:
        videos: of a reader, which may also yield why a video cannot be used.
        media_folder: files in it are named after the videos, as `MediaById` finds them; one that
            was cut to a segment is the segment. Local or URL.
        language: BCP 47 tag of the sentences, or empty.
        rounding: annotated times → times of the clip.
        account: gets what was left out.
    """
    account = Account() if account is None else account
    maker = _ItemMaker(media_folder, language, rounding)
    tallies: collections.Counter[str] = collections.Counter()
    for video in videos:
        tallies["videos found"] += 1
        if not isinstance(video, AnnotatedVideo):
            yield video
            continue
        tallies["segments found"] += len(video.segments)
        tallies["without"] += not video.segments
        for number, segment in enumerate(video.segments):
            name = f"{video.group}#{number}"
            found = segment
            if isinstance(segment, AnnotatedSegment):
                found = maker.item(video, number, segment)
            yield (name, found) if isinstance(found, Reject) else {"id": name} | found
    account.note(NoteCode.CUE_EMPTY, "annotations", "blank sentences beside others", maker.blank)
    account.note(NoteCode.ROW_LEFT_OUT, "videos", "they have no segments", tallies["without"])
    account.tallies |= {name: tallies[name] for name in ("videos found", "segments found")}


class _ItemMaker:
    """Makes items of the segments of videos in one folder."""

    def __init__(self, media_folder: str, language: str, rounding: Rounding):
        self._folder, self._language, self._rounding = media_folder, language, rounding
        self._media = MediaById(media_folder)
        self.blank = 0

    def item(
        self, video: AnnotatedVideo, number: int, segment: AnnotatedSegment
    ) -> dict[str, Any] | Reject:
        """Fields of a segment's item but its id, or why there is none."""
        texts = [text for text in (" ".join(each.split()) for each in segment.texts) if text]
        if not texts:
            return Reject(RejectCode.BAD_CAPTIONS, "it has no sentence")
        if any(len(text) > MAX_CAPTION_CHARACTERS for text in texts):
            detail = f"more than {MAX_CAPTION_CHARACTERS} characters"
            return Reject(RejectCode.BAD_CAPTIONS, detail)
        self.blank += len(segment.texts) - len(texts)
        span = self._span(video, segment)
        if isinstance(span, Reject):
            return span
        found = self._media.find(video.name, segment.span)
        if found is None:
            detail = f"no media file is named after {video.name}"
            return Reject(RejectCode.FILE_MISSING, detail)
        media, is_cut = found
        if (reject := unusable(self._folder, media)) is not None:
            return reject
        times = dict(zip(("start_seconds", "end_seconds"), span, strict=True)) if span else {}
        times = {} if is_cut and span else times
        split = {"split": video.split} if video.split else {}
        metadata = video.metadata | segment.metadata
        return {
            "media": media,
            **split,
            **times,
            "group": video.group,
            "group_index": number,
            "captions": [{"text": text, **self._about(video), **times} for text in texts],
            **({"metadata": metadata} if metadata else {}),
        }

    def _span(self, video: AnnotatedVideo, segment: AnnotatedSegment) -> Span | None | Reject:
        if segment.span is None:
            return None
        start, end = segment.span
        span = self._rounding(start, end)
        if span is None:
            detail = f"the segment is empty or reversed: {start:g} to {end:g} s"
            return Reject(RejectCode.BAD_METADATA, detail)
        if video.duration_seconds is not None and start >= video.duration_seconds:
            detail = f"the segment starts at {start:.3f} s"
            detail += f", the video ends at {video.duration_seconds:.3f} s"
            return Reject(RejectCode.TOO_SHORT, detail)
        return span

    def _about(self, video: AnnotatedVideo) -> dict[str, str]:
        language = {"language": self._language} if self._language else {}
        if not video.reference_set:
            return language
        return language | {"style": REFERENCE_STYLE.format(video.reference_set)}
