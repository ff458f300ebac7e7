"""One decoded clip and its manifest item → the values of a record."""

import dataclasses
from typing import Any

import numpy as np

from beam_pipelines import records, windows
from beam_pipelines.serialize import ContextValues, SequenceValues, pcm16
from beam_pipelines.tracks import reach_seconds, resample_track

AUDIO_ENCODINGS = ("floats", "pcm16")
_NO_TIME = -1


@dataclasses.dataclass(frozen=True)
class Clip:
    """A decoded clip before it is serialised.

    Attributes:
        key: unique key, item id, `#`, clip number.
        item: manifest item.
        media_sha256: hex hash of the media file.
        start_seconds, end_seconds: the clip in the media.
        frames_jpeg: one JPEG per stored frame; empty without video.
        frame_times_seconds: float64[frames] from the start of the media.
        height, width: pixels of the frames; 0 without video.
        frame_rate_hz: rate of the stored frames.
        waveform: float32[samples], or None without audio.
        sample_rate_hz: rate of the waveform.
    """

    key: str
    item: dict[str, Any]
    media_sha256: str
    start_seconds: float
    end_seconds: float
    frames_jpeg: list[bytes]
    frame_times_seconds: np.ndarray
    height: int
    width: int
    frame_rate_hz: float
    waveform: np.ndarray | None
    sample_rate_hz: int


def record_values(
    clip: Clip, *, audio_encoding: str, nearest_captions: int
) -> tuple[ContextValues, SequenceValues]:
    """(context, feature lists) of a clip's record.

    Times stay on the media's clock. What has a time and lies outside the clip is left out, what
    straddles an end is cut there; captions are kept by nearness instead and keep their own times.

    Args:
        clip: decoded clip.
        audio_encoding: `floats` or `pcm16`.
        nearest_captions: captions to keep; 0 keeps all.
    """
    context: ContextValues = {
        records.CLIP_KEY: [clip.key.encode()],
        records.CLIP_START: [_microseconds(clip.start_seconds)],
        records.CLIP_END: [_microseconds(clip.end_seconds)],
        records.MEDIA_FILENAME: [clip.item["media"].encode()],
        records.MEDIA_SHA256: [clip.media_sha256.encode()],
        **_labels(clip.item.get("labels", [])),
        **_captions(clip, nearest_captions),
        **_utterances(clip),
        **_questions(clip.item.get("questions", [])),
    }
    lists: SequenceValues = {}
    _add_audio(clip, audio_encoding, context, lists)
    _add_video(clip, context, lists)
    _add_objects(clip, context, lists)
    return context, lists


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _strings(entries: list[dict[str, Any]], key: str) -> list[bytes]:
    return [entry.get(key, "").encode() for entry in entries]


def _times(entries: list[dict[str, Any]], key: str) -> list[int]:
    return [_microseconds(entry[key]) if key in entry else _NO_TIME for entry in entries]


def _labels(labels: list[dict[str, Any]]) -> ContextValues:
    return {
        records.LABEL_INDEX: [label["index"] for label in labels],
        records.LABEL_TEXT: _strings(labels, "text"),
    }


def _captions(clip: Clip, nearest: int) -> ContextValues:
    captions = windows.order_captions(
        clip.item.get("captions", []), clip.start_seconds, clip.end_seconds, nearest
    )
    return {
        records.CAPTION: _strings(captions, "text"),
        records.CAPTION_LANGUAGE: _strings(captions, "language"),
        records.CAPTION_STYLE: _strings(captions, "style"),
        records.CAPTION_RELATION: _strings(captions, "relation"),
        records.CAPTION_START: _times(captions, "start_seconds"),
        records.CAPTION_END: _times(captions, "end_seconds"),
    }


def _inside(entries: list[dict[str, Any]], clip: Clip) -> list[dict[str, Any]]:
    """Timed entries that overlap the clip, cut to it."""
    kept = []
    for entry in entries:
        start = max(entry["start_seconds"], clip.start_seconds)
        end = min(entry["end_seconds"], clip.end_seconds)
        is_instant = entry["start_seconds"] == entry["end_seconds"] == start
        if start < end or (is_instant and start < clip.end_seconds):
            kept.append({**entry, "start_seconds": start, "end_seconds": end})
    return kept


def _utterances(clip: Clip) -> ContextValues:
    utterances = _inside(clip.item.get("utterances", []), clip)
    phonemes = [
        phoneme
        for utterance in utterances
        for phoneme in _inside(utterance.get("phonemes", []), clip)
    ]
    return {
        records.UTTERANCE_TEXT: _strings(utterances, "text"),
        records.UTTERANCE_LANGUAGE: _strings(utterances, "language"),
        records.UTTERANCE_VOICE: _strings(utterances, "voice"),
        records.UTTERANCE_START: _times(utterances, "start_seconds"),
        records.UTTERANCE_END: _times(utterances, "end_seconds"),
        records.PHONEME_SYMBOL: _strings(phonemes, "symbol"),
        records.PHONEME_START: _times(phonemes, "start_seconds"),
        records.PHONEME_END: _times(phonemes, "end_seconds"),
    }


def _questions(questions: list[dict[str, Any]]) -> ContextValues:
    return {
        records.QUESTION: _strings(questions, "text"),
        records.ANSWER: _strings(questions, "answer"),
        records.QUESTION_KIND: _strings(questions, "kind"),
        records.QUESTION_LANGUAGE: _strings(questions, "language"),
    }


def _add_audio(clip: Clip, encoding: str, context: ContextValues, lists: SequenceValues) -> None:
    has_audio = clip.waveform is not None
    context[records.SAMPLE_RATE] = [clip.sample_rate_hz if has_audio else 0]
    context[records.NUM_SAMPLES] = [len(clip.waveform) if has_audio else 0]
    if has_audio and encoding == "pcm16":
        lists[records.WAVEFORM_PCM16] = [[pcm16(clip.waveform)]]
    elif has_audio:
        lists[records.WAVEFORM_FLOATS] = [clip.waveform]


def _add_video(clip: Clip, context: ContextValues, lists: SequenceValues) -> None:
    num_frames = len(clip.frames_jpeg)
    context[records.NUM_FRAMES] = [num_frames]
    context[records.HEIGHT] = [clip.height]
    context[records.WIDTH] = [clip.width]
    context[records.FRAME_RATE] = [clip.frame_rate_hz if num_frames else 0.0]
    if num_frames:
        lists[records.FRAMES] = [[frame] for frame in clip.frames_jpeg]
        lists[records.FRAME_TIMESTAMPS] = [[_microseconds(t)] for t in clip.frame_times_seconds]


def _add_objects(clip: Clip, context: ContextValues, lists: SequenceValues) -> None:
    objects = [entry for entry in clip.item.get("objects", []) if _track_meets_clip(entry, clip)]
    ids = {entry["id"] for entry in objects}
    phrases = [
        {**phrase, "object_id": entry["id"]}
        for entry in objects
        for phrase in entry.get("phrases", [])
    ]
    relations = [
        relation
        for relation in clip.item.get("relations", [])
        if relation["subject_id"] in ids and relation["object_id"] in ids
    ]
    labels = [entry.get("label", {"index": -1, "text": ""}) for entry in objects]
    context |= {
        records.OBJECT_ID: [entry["id"] for entry in objects],
        records.OBJECT_LABEL_INDEX: [label["index"] for label in labels],
        records.OBJECT_LABEL_TEXT: _strings(labels, "text"),
        records.OBJECT_PHRASE: _strings(phrases, "text"),
        records.OBJECT_PHRASE_LANGUAGE: _strings(phrases, "language"),
        records.OBJECT_PHRASE_OBJECT: [phrase["object_id"] for phrase in phrases],
        records.RELATION_SUBJECT: [relation["subject_id"] for relation in relations],
        records.RELATION_PREDICATE: _strings(relations, "predicate"),
        records.RELATION_OBJECT: [relation["object_id"] for relation in relations],
    }
    if objects and clip.frames_jpeg:
        lists |= _object_columns(objects, clip.frame_times_seconds)


def _track_meets_clip(entry: dict[str, Any], clip: Clip) -> bool:
    track = entry.get("track", [])
    if not track:
        return True
    first, last = track[0]["time_seconds"], track[-1]["time_seconds"]
    reach = reach_seconds(track)
    return first - reach <= clip.end_seconds and last + reach >= clip.start_seconds


def _object_columns(objects: list[dict[str, Any]], times_seconds: np.ndarray) -> SequenceValues:
    sampled = [resample_track(entry.get("track", []), times_seconds) for entry in objects]
    frames = range(len(times_seconds))
    return {
        records.OBJECT_BOXES: [[x for track in sampled for x in track[f].box] for f in frames],
        records.OBJECT_VISIBILITY: [[track[f].visibility for track in sampled] for f in frames],
        records.OBJECT_DEPTH: [[track[f].depth for track in sampled] for f in frames],
        records.OBJECT_DIRECTION: [[track[f].direction for track in sampled] for f in frames],
    }
