"""One decoded clip and its manifest item → the values of a record."""

import dataclasses
from typing import Any

import numpy as np

from beam_pipelines.items import windows
from beam_pipelines.items.tracks import reach_seconds, resample_track
from beam_pipelines.record import contract
from beam_pipelines.record.serialize import ContextValues, SequenceValues, pcm16

_NO_TIME = -1
_NO_PLACE = -1


@dataclasses.dataclass(frozen=True)
class RecordClip:
    """A decoded clip before it is serialised.

    Attributes:
        key: unique key, item id, `#`, clip number.
        item: manifest item.
        media_sha256: hex hash of the media file; empty where it was not looked at.
        start_seconds, end_seconds: the clip in the media.
        frames_jpeg: one JPEG per stored frame; empty without video.
        frame_times_seconds: float64[frames] from the start of the media.
        height, width: pixels of the frames; 0 without video.
        frame_rate_hz: rate of the stored frames.
        waveform: float32[samples], or None without audio.
        sample_rate_hz: rate of the waveform.
        peak: largest magnitude of the waveform before it was limited to [-1, 1].
        source_properties: names of `media.source_properties.SourceProperty`.
        cut_around: places of the item's captions that the clip was cut around.
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
    peak: float
    source_properties: tuple[str, ...]
    cut_around: tuple[int, ...] = ()


def record_values(
    clip: RecordClip, *, audio_encoding: str, nearest_captions: int
) -> tuple[ContextValues, SequenceValues]:
    """(context, feature lists) of a clip's record.

    Times stay on the media's clock. What has a time and lies outside the clip is left out, what
    straddles an end is cut there; captions are kept by nearness instead and keep their own times,
    cut to the item's segment where it is one.

    Args:
        clip: decoded clip.
        audio_encoding: `floats` or `pcm16`.
        nearest_captions: captions to keep; 0 keeps all.
    """
    context: ContextValues = {
        contract.CLIP_KEY: [clip.key.encode()],
        contract.CLIP_START: [_microseconds(clip.start_seconds)],
        contract.CLIP_END: [_microseconds(clip.end_seconds)],
        contract.MEDIA_FILENAME: [clip.item.get("media", "").encode()],
        contract.MEDIA_SHA256: [clip.media_sha256.encode()],
        contract.SOURCE_PROPERTIES: [name.encode() for name in clip.source_properties],
        **_place(clip.item),
        **_labels(clip.item.get("labels", [])),
        **_captions(kept_captions(clip, nearest_captions)),
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


def _place(item: dict[str, Any]) -> ContextValues:
    if "group" not in item:
        return {}
    return {
        contract.CLIP_GROUP: [item["group"].encode()],
        contract.CLIP_GROUP_INDEX: [item["group_index"]],
    }


def _strings(entries: list[dict[str, Any]], key: str) -> list[bytes]:
    return [entry.get(key, "").encode() for entry in entries]


def _times(entries: list[dict[str, Any]], key: str) -> list[int]:
    return [_microseconds(entry[key]) if key in entry else _NO_TIME for entry in entries]


def _labels(labels: list[dict[str, Any]]) -> ContextValues:
    return {
        contract.LABEL_INDEX: [label["index"] for label in labels],
        contract.LABEL_TEXT: _strings(labels, "text"),
    }


def kept_captions(clip: RecordClip, nearest: int) -> list[dict[str, Any]]:
    """The captions that a clip's record holds, in their order.

    Args:
        clip: decoded clip.
        nearest: how many to keep, though never fewer than it was cut around; 0 keeps all.
    """
    window = windows.Window(clip.start_seconds, clip.end_seconds, clip.cut_around)
    return windows.order_captions(clip.item.get("captions", []), window, nearest)


def _captions(captions: list[dict[str, Any]]) -> ContextValues:
    return {
        contract.CAPTION: _strings(captions, "text"),
        contract.CAPTION_LANGUAGE: _strings(captions, "language"),
        contract.CAPTION_STYLE: _strings(captions, "style"),
        contract.CAPTION_RELATION: _strings(captions, "relation"),
        contract.CAPTION_START: _times(captions, "start_seconds"),
        contract.CAPTION_END: _times(captions, "end_seconds"),
    }


def _inside(entries: list[dict[str, Any]], clip: RecordClip) -> list[dict[str, Any]]:
    return windows.overlapping(entries, clip.start_seconds, clip.end_seconds)


def _utterances(clip: RecordClip) -> ContextValues:
    utterances = _inside(clip.item.get("utterances", []), clip)
    phonemes = [
        phoneme
        for utterance in utterances
        for phoneme in _inside(utterance.get("phonemes", []), clip)
    ]
    return {
        contract.UTTERANCE_TEXT: _strings(utterances, "text"),
        contract.UTTERANCE_LANGUAGE: _strings(utterances, "language"),
        contract.UTTERANCE_VOICE: _strings(utterances, "voice"),
        contract.UTTERANCE_START: _times(utterances, "start_seconds"),
        contract.UTTERANCE_END: _times(utterances, "end_seconds"),
        contract.PHONEME_SYMBOL: _strings(phonemes, "symbol"),
        contract.PHONEME_START: _times(phonemes, "start_seconds"),
        contract.PHONEME_END: _times(phonemes, "end_seconds"),
    }


def _questions(questions: list[dict[str, Any]]) -> ContextValues:
    return {
        contract.QUESTION: _strings(questions, "text"),
        contract.ANSWER: _strings(questions, "answer"),
        contract.QUESTION_KIND: _strings(questions, "kind"),
        contract.QUESTION_LANGUAGE: _strings(questions, "language"),
    }


def _add_audio(
    clip: RecordClip, encoding: str, context: ContextValues, lists: SequenceValues
) -> None:
    has_audio = clip.waveform is not None
    context[contract.SAMPLE_RATE] = [clip.sample_rate_hz if has_audio else 0]
    context[contract.NUM_SAMPLES] = [len(clip.waveform) if has_audio else 0]
    context[contract.AUDIO_PEAK] = [clip.peak if has_audio else 0.0]
    if has_audio and encoding == "pcm16":
        lists[contract.WAVEFORM_PCM16] = [[pcm16(clip.waveform)]]
    elif has_audio:
        lists[contract.WAVEFORM_FLOATS] = [clip.waveform]


def _add_video(clip: RecordClip, context: ContextValues, lists: SequenceValues) -> None:
    num_frames = len(clip.frames_jpeg)
    context[contract.NUM_FRAMES] = [num_frames]
    context[contract.HEIGHT] = [clip.height]
    context[contract.WIDTH] = [clip.width]
    context[contract.FRAME_RATE] = [clip.frame_rate_hz if num_frames else 0.0]
    if num_frames:
        lists[contract.FRAMES] = [[frame] for frame in clip.frames_jpeg]
        lists[contract.FRAME_TIMESTAMPS] = [[_microseconds(t)] for t in clip.frame_times_seconds]


def _add_objects(clip: RecordClip, context: ContextValues, lists: SequenceValues) -> None:
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
        contract.OBJECT_ID: [entry["id"] for entry in objects],
        contract.OBJECT_LABEL_INDEX: [label["index"] for label in labels],
        contract.OBJECT_LABEL_TEXT: _strings(labels, "text"),
        contract.OBJECT_PHRASE: _strings(phrases, "text"),
        contract.OBJECT_PHRASE_LANGUAGE: _strings(phrases, "language"),
        contract.OBJECT_PHRASE_OBJECT: [phrase["object_id"] for phrase in phrases],
        contract.OBJECT_PHRASE_SENTENCE: _strings(phrases, "sentence"),
        contract.OBJECT_PHRASE_FIRST_WORD: [
            phrase.get("first_word", _NO_PLACE) for phrase in phrases
        ],
        contract.RELATION_SUBJECT: [relation["subject_id"] for relation in relations],
        contract.RELATION_PREDICATE: _strings(relations, "predicate"),
        contract.RELATION_OBJECT: [relation["object_id"] for relation in relations],
    }
    if objects and clip.frames_jpeg:
        lists |= _object_columns(objects, clip.frame_times_seconds)


def _track_meets_clip(entry: dict[str, Any], clip: RecordClip) -> bool:
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
        contract.OBJECT_BOXES: [[x for track in sampled for x in track[f].box] for f in frames],
        contract.OBJECT_VISIBILITY: [[track[f].visibility for track in sampled] for f in frames],
        contract.OBJECT_DEPTH: [[track[f].depth for track in sampled] for f in frames],
        contract.OBJECT_DIRECTION: [[track[f].direction for track in sampled] for f in frames],
    }
