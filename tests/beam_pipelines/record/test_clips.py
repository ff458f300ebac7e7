"""Windows, nearest captions, and what of a manifest item lands in a clip's record."""

import numpy as np
import pytest

from beam_pipelines.items import windows
from beam_pipelines.items.tracks import ABSENT, resample_track
from beam_pipelines.items.windows import Window, WindowConfig
from beam_pipelines.media.decode_contract import ClipMedia, MediaInfo
from beam_pipelines.record import contract
from beam_pipelines.record.clip import RecordClip, record_values
from beam_pipelines.record.clip_facts import add_clip_facts
from beam_pipelines.record.statistics import Facts
from beam_pipelines.rejects import RejectCode


def caption(text: str, start: float, end: float) -> dict:
    return {"text": text, "start_seconds": start, "end_seconds": end}


STRIDE = WindowConfig("stride", window_seconds=2.0, stride_seconds=1.5)
AROUND = WindowConfig("captions", window_seconds=2.0)


@pytest.mark.parametrize(
    ("duration", "starts"),
    [
        (0.0, [None]),
        (1.9, [None]),
        (2.0, [None]),
        (3.4, [0]),
        (3.5, [0, 1.5]),
        (8.2, [0, 1.5, 3, 4.5, 6]),
    ],
)
def test_stride_windows(duration, starts):
    expected = [Window(0.0, None) if s is None else Window(s, s + 2.0) for s in starts]
    assert windows.windows(STRIDE, {}, duration) == expected


def test_caption_windows_are_centred_and_held_inside():
    item = {
        "captions": [
            {"text": "untimed"},
            caption("early", 0.0, 1.0),
            caption("middle", 4.0, 5.0),
            caption("late", 9.5, 10.5),
            caption("after the end", 10.0, 11.0),
        ]
    }
    assert windows.windows(AROUND, item, 10.0) == [
        Window(0.0, 2.0, (1,)),
        Window(3.5, 5.5, (2,)),
        Window(8.0, 10.0, (3,)),
    ]
    assert windows.windows(AROUND, item, 1.5) == [Window(0.0, None, (1,))]


def test_captions_that_lead_to_one_window_share_it_and_come_first():
    item = {"captions": [caption(text, 0.3 * n, 0.3 * n + 0.1) for n, text in enumerate("abcdef")]}
    first, second, third = found = windows.windows(AROUND, item, 10.0)
    assert [window.captions for window in found] == [(0, 1, 2, 3), (4,), (5,)]
    assert first == Window(0.0, 2.0, (0, 1, 2, 3))

    def kept(window, nearest):
        return "".join(c["text"] for c in windows.order_captions(item["captions"], window, nearest))

    assert [kept(window, 1) for window in found] == ["abcd", "e", "f"]
    # Further captions follow by nearness.
    assert [kept(window, 3) for window in (second, third)] == ["edf", "fed"]
    (whole,) = windows.windows(AROUND, item, 1.9)
    assert kept(whole, 1) == "abcdef"
    # A window that the start of the media has moved lies nearer to another's caption.
    item = {"captions": [caption("b", 1.4, 1.6), caption("a", 0.0, 0.1), {"text": "whole"}]}
    moved = windows.windows(AROUND, item, 10.0)[1]
    assert kept(moved, 3) == "awholeb"


SEGMENT = {
    "start_seconds": 2.0,
    "end_seconds": 7.0,
    "captions": [
        {"text": "whole"},
        caption("before", 0.0, 1.9),
        caption("into", 1.0, 3.0),
        caption("out of", 6.5, 9.0),
        caption("behind", 7.0, 8.0),
    ],
}


def test_windows_and_captions_of_a_segment_lie_inside_it():
    item = windows.cut_to_segment(SEGMENT)
    assert item["captions"] == [
        {"text": "whole"},
        caption("into", 2.0, 3.0),
        caption("out of", 6.5, 7.0),
    ]
    assert windows.windows(WindowConfig(), item, 10.0) == [Window(2.0, 7.0)]
    assert windows.windows(WindowConfig(), item, 5.5) == [Window(2.0, 5.5)]
    assert windows.windows(WindowConfig(), item, 2.0).code == RejectCode.TOO_SHORT
    assert windows.windows(STRIDE, item, 10.0) == [
        Window(2.0, 4.0),
        Window(3.5, 5.5),
        Window(5.0, 7.0),
    ]
    assert windows.windows(AROUND, item, 10.0) == [Window(2.0, 4.0, (1,)), Window(5.0, 7.0, (2,))]
    assert windows.cut_to_segment(ITEM) is ITEM


def test_caption_windows_need_timed_captions():
    assert windows.windows(AROUND, {"captions": [{"text": "x"}]}, 9.0).code == (
        RejectCode.BAD_CAPTIONS
    )
    late = {"captions": [caption("x", 20.0, 21.0)]}
    assert "after the end" in windows.windows(AROUND, late, 9.0).detail


def test_captions_nearest_in_time_come_first():
    captions = [
        caption("d=3", 6.5, 7.5),
        caption("d=0.5", 4.0, 5.0),
        {"text": "whole"},
        caption("d=1 first", 3.0, 3.0),
        caption("d=1 second", 5.0, 5.0),
    ]
    order = windows.order_captions(captions, Window(3.0, 5.0), 0)
    assert [c["text"] for c in order] == ["whole", "d=0.5", "d=1 first", "d=1 second", "d=3"]
    assert windows.order_captions(captions, Window(3.0, 5.0), 2) == order[:2]


def point(time: float, left: float, **more) -> dict:
    return {"time_seconds": time, "box_yxyx_norm": [0.1, left, 0.2, left + 0.1], **more}


def test_tracks_are_interpolated_and_gaps_are_absences():
    track = [
        point(0.0, 0.0, visibility=1.0, depth=1, direction="right"),
        point(0.2, 0.2, visibility=0.5, depth=0, direction="up"),
        point(0.4, 0.4),
        point(2.0, 0.0),
    ]
    times = np.array([0.0, 0.05, 0.15, 0.45, 0.6, 1.95, 2.2])
    found = resample_track(track, times)
    np.testing.assert_allclose(
        [sample.box[1] for sample in found], [0, 0.05, 0.15, 0.4, 0, 0, 0], atol=1e-9
    )
    assert [sample.depth for sample in found] == [1, 1, 0, -1, -1, -1, -1]
    assert [sample.direction for sample in found[:3]] == [b"right", b"right", b"up"]
    np.testing.assert_allclose([sample.visibility for sample in found[:2]], [1.0, 0.875])
    assert found[5].box[2] == pytest.approx(0.2)
    assert found[4] == found[6] == ABSENT
    assert resample_track([], times) == [ABSENT] * 7


ITEM = {
    "id": "a",
    "group": "whole film",
    "group_index": 2,
    "media": "a.mp4",
    "captions": [caption("before", 0.0, 1.0), caption("inside", 4.0, 5.0)],
    "labels": [{"index": 3, "text": "three"}],
    "utterances": [
        {
            **caption("one two", 2.0, 4.5),
            "voice": "en",
            "phonemes": [
                {"symbol": "w", "start_seconds": 2.0, "end_seconds": 2.5},
                {"symbol": "V", "start_seconds": 2.5, "end_seconds": 3.5},
                {"symbol": "n", "start_seconds": 3.5, "end_seconds": 4.5},
            ],
        },
        caption("gone", 0.0, 2.9),
    ],
    "objects": [
        {"id": 7, "track": [point(3.0, 0.0), point(4.0, 0.5)], "phrases": [{"text": "the 3"}]},
        {"id": 8, "track": [point(8.0, 0.0), point(8.5, 0.0)], "phrases": [{"text": "late"}]},
        {
            "id": 9,
            "label": {"index": 1, "text": "one"},
            "phrases": [
                {"text": "the 3", "sentence": "see the 3 now", "first_word": 1},
                {"text": "it"},
            ],
        },
    ],
    "relations": [
        {"subject_id": 7, "predicate": "left_of", "object_id": 9},
        {"subject_id": 7, "predicate": "left_of", "object_id": 8},
    ],
    "questions": [{"text": "which?", "answer": "three", "kind": "what"}],
}


def clip(**changes) -> RecordClip:
    values = {
        "key": "a#1",
        "item": ITEM,
        "media_sha256": "00",
        "start_seconds": 3.0,
        "end_seconds": 5.0,
        "frames_jpeg": [b"0", b"1", b"2"],
        "frame_times_seconds": np.array([3.0, 3.5, 4.0]),
        "height": 2,
        "width": 3,
        "frame_rate_hz": 2.0,
        "waveform": np.zeros(4, np.float32),
        "sample_rate_hz": 2,
        "peak": 2.5,
        "source_properties": ("alpha", "limited"),
    }
    return RecordClip(**(values | changes))


def test_a_window_keeps_what_overlaps_it_on_the_media_clock():
    context, lists = record_values(clip(), audio_encoding="floats", nearest_captions=1)
    assert context[contract.CLIP_START] == [3_000_000]
    assert context[contract.CLIP_END] == [5_000_000]
    assert context[contract.SOURCE_PROPERTIES] == [b"alpha", b"limited"]
    assert context[contract.AUDIO_PEAK] == [2.5]
    assert lists[contract.FRAME_TIMESTAMPS] == [[3_000_000], [3_500_000], [4_000_000]]
    assert context[contract.CAPTION] == [b"inside"]
    assert context[contract.CAPTION_START] == [4_000_000]
    assert context[contract.UTTERANCE_TEXT] == [b"one two"]
    assert context[contract.UTTERANCE_START] == [3_000_000]
    assert context[contract.UTTERANCE_END] == [4_500_000]
    assert context[contract.PHONEME_SYMBOL] == [b"V", b"n"]
    assert context[contract.PHONEME_START] == [3_000_000, 3_500_000]
    assert context[contract.QUESTION] == [b"which?"]
    assert context[contract.OBJECT_ID] == [7, 9]
    assert context[contract.OBJECT_LABEL_INDEX] == [-1, 1]
    assert context[contract.OBJECT_PHRASE] == [b"the 3", b"the 3", b"it"]
    assert context[contract.OBJECT_PHRASE_OBJECT] == [7, 9, 9]
    assert context[contract.OBJECT_PHRASE_SENTENCE] == [b"", b"see the 3 now", b""]
    assert context[contract.OBJECT_PHRASE_FIRST_WORD] == [-1, 1, -1]
    assert context[contract.RELATION_OBJECT] == [9]
    boxes = np.array(lists[contract.OBJECT_BOXES]).reshape(3, 2, 4)
    np.testing.assert_allclose(boxes[:, 0, 1], [0.0, 0.25, 0.5])
    assert not boxes[:, 1].any()


def test_a_phrase_of_several_objects_counts_once():
    phrase = {"text": "men", "sentence": "two men", "first_word": 1}
    objects = [{"id": n, "phrases": [phrase, {"text": "men"}]} for n in range(3)]
    media = ClipMedia([], np.zeros(0), 0, 0, None, 0, MediaInfo("png"))
    facts = Facts()
    add_clip_facts(facts, clip(item={"media": "a", "objects": objects}), media, 1, 0)
    assert facts.numbers["phrases_per_clip"] == [2] and facts.numbers["objects_per_clip"] == [3]


def test_missing_modalities_leave_no_lists():
    silent = clip(waveform=None, sample_rate_hz=0)
    context, lists = record_values(silent, audio_encoding="pcm16", nearest_captions=0)
    assert context[contract.SAMPLE_RATE] == context[contract.NUM_SAMPLES] == [0]
    assert context[contract.AUDIO_PEAK] == [0.0]
    assert contract.WAVEFORM_PCM16 not in lists
    blind = clip(frames_jpeg=[], frame_times_seconds=np.zeros(0), height=0, width=0)
    context, lists = record_values(blind, audio_encoding="pcm16", nearest_captions=0)
    assert context[contract.NUM_FRAMES] == [0]
    assert context[contract.FRAME_RATE] == [0.0]
    assert list(lists) == [contract.WAVEFORM_PCM16]
    assert [len(value) for value in lists[contract.WAVEFORM_PCM16][0]] == [8]


def test_every_context_key_and_list_is_in_the_contract():
    context, lists = record_values(clip(), audio_encoding="floats", nearest_captions=0)
    # Features are computed of records.
    of_clips = {k: f for k, f in contract.FEATURES.items() if not k.startswith("features/")}
    assert set(context) == {k for k, f in of_clips.items() if f.where == "context"}
    assert set(lists) == {k for k, f in of_clips.items() if f.where == "feature_lists"} - {
        contract.WAVEFORM_PCM16
    }
