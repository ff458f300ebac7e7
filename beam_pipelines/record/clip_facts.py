"""What a stored clip adds to the statistics of its split."""

from typing import Any

from beam_pipelines.media.decode_contract import ClipMedia
from beam_pipelines.record.clip import RecordClip, kept_captions
from beam_pipelines.record.statistics import Facts, loudness_dbfs
from beam_pipelines.text.word_splitting import normalised_words

# Quieter than the noise of a quiet room at the usual level of speech.
_NEARLY_SILENT_DBFS = -60.0


def add_clip_facts(
    facts: Facts, clip: RecordClip, media: ClipMedia, file_bytes: int, nearest_captions: int
) -> None:
    """Adds what a stored clip contributes to the statistics.

    A distribution called `share_...` has 0 or 1 for every clip: its mean is the share.

    Args:
        facts: is added to.
        clip: the clip that was stored.
        media: what the decoder gave.
        file_bytes: size of the media file.
        nearest_captions: captions that its record keeps; 0 keeps all.
    """
    captions = kept_captions(clip, nearest_captions)
    texts = [caption["text"] for caption in captions]
    words = [normalised_words(text) for text in texts]
    numbers = {
        "clip_seconds": [clip.end_seconds - clip.start_seconds],
        "media_seconds": [media.info.duration_seconds or 0.0],
        "file_bytes": [file_bytes],
        "captions_per_clip": [len(captions)],
        "captions_left_out_per_clip": [len(clip.item.get("captions", [])) - len(captions)],
        "caption_characters": [len(text) for text in texts],
        "caption_words": [len(split) for split in words],
        "objects_per_clip": [len(clip.item.get("objects", []))],
        "phrases_per_clip": [_num_phrases(clip.item)],
    }
    if clip.frames_jpeg:
        numbers |= {
            "source_frame_rate_hz": [media.info.frame_rate_hz or 0.0],
            "source_height": [media.info.height or 0],
            "source_width": [media.info.width or 0],
            "stored_frames": [len(clip.frames_jpeg)],
            "stored_frame_bytes": [len(frame) for frame in clip.frames_jpeg],
            "share_nearly_blank": [media.is_nearly_blank],
        }
    if clip.waveform is not None:
        loudness = loudness_dbfs(clip.waveform)
        numbers |= {
            "stored_audio_seconds": [len(clip.waveform) / clip.sample_rate_hz],
            "loudness_dbfs": [loudness],
            "audio_peak": [clip.peak],
            "source_audio_channels": [media.info.audio_channels or 0],
            "share_limited": [clip.peak > 1.0],
            "share_nearly_silent": [loudness < _NEARLY_SILENT_DBFS],
        }
    for name, values in numbers.items():
        facts.numbers.setdefault(name, []).extend(values)
    counted = {
        "caption_vocabulary": [word for split in words for word in split],
        "caption_languages": [caption.get("language", "") for caption in captions],
        "caption_styles": [caption.get("style", "") for caption in captions],
        "caption_relations": [caption.get("relation", "") for caption in captions],
        "labels": [label["text"] for label in clip.item.get("labels", [])],
        "modalities": _modalities(clip),
        "source_properties": list(clip.source_properties),
        "warnings": [warning.split(":")[0] for warning in media.warnings],
    }
    for name, values in counted.items():
        facts.words.setdefault(name, []).extend(values)


def _modalities(clip: RecordClip) -> list[str]:
    present = {
        "video": bool(clip.frames_jpeg),
        "audio": clip.waveform is not None,
        "text": bool(clip.item.get("captions")),
    }
    return [name for name, is_present in present.items() if is_present]


def _num_phrases(item: dict[str, Any]) -> int:
    """Different phrases: one of several objects counts once."""
    return len(
        {
            (phrase["text"], phrase.get("sentence", ""), phrase.get("first_word", -1))
            for entry in item.get("objects", [])
            for phrase in entry.get("phrases", [])
        }
    )
