"""Annotations of any form: every segment is an item or a reject, and bad files are named."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.items import schema
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.segments.activitynet import read_activitynet
from beam_pipelines.sources.segments.annotated_video import AnnotatedVideo
from beam_pipelines.sources.segments.segment_items import segment_items
from beam_pipelines.sources.segments.youcookii import read_youcookii
from mm_models.errors import UserError
from tests.beam_pipelines.sources.segments.annotation_files import (
    CAPTIONED,
    media,
    of_videos,
    write,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
times = st.lists(st.floats(allow_nan=False) | st.integers(), min_size=2, max_size=2)
annotations = st.fixed_dictionaries({"segment": times | anything, "sentence": st.text() | anything})
videos = st.fixed_dictionaries(
    {"subset": st.sampled_from(["training", "testing"]) | anything},
    optional={"annotations": st.lists(annotations | anything, max_size=3), "duration": anything},
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c\n", "\ud800"]), videos | anything))
def test_whatever_an_annotation_holds_every_segment_is_an_item_or_a_reject(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("any")
    media(folder, "a.mp4", "b.mp4")
    path = folder / "a.json"
    text = json.dumps({"database": found}).replace("NaN", "null").replace("-Infinity", "-1e999")
    path.write_text(text.replace("Infinity", "1e999"), encoding="utf-8")
    account = Account()
    entries = list(segment_items(read_youcookii(str(path), account), str(folder), account=account))
    items = [entry for entry in entries if isinstance(entry, dict)]
    videos = list(read_youcookii(str(path), Account()))
    whole = [video for video in videos if isinstance(video, AnnotatedVideo)]
    assert len(entries) == sum(len(v.segments) for v in whole) + len(videos) - len(whole)
    assert account.tallies["segments found"] == sum(len(video.segments) for video in whole)
    for item in items:
        json.dumps(item, allow_nan=False, ensure_ascii=False).encode()
        if item["end_seconds"] < 1e6:
            schema.check_item(item)


def test_wrong_entries_of_activitynet_cost_their_video(tmp_path):
    content = CAPTIONED | {
        "short": {"timestamps": [[0, 1]], "sentences": []},
        "none": {"timestamps": [[0, 1]]},
        "list": [1],
    }
    path = write(tmp_path / "train.json", content)
    found = list(read_activitynet([path], [], None, Account()))
    rejects = {entry[0]: entry[1].code for entry in found if not isinstance(entry, AnnotatedVideo)}
    assert rejects == dict.fromkeys(("short", "none", "list"), RejectCode.BAD_METADATA)
    for other in ("[]", "{", {"database": []}):
        with pytest.raises(UserError, match="--annotations"):
            list(read_youcookii(write(tmp_path / "b.json", other), Account()))


def test_a_file_that_was_cut_to_its_segment_is_the_segment(tmp_path):
    path = write(tmp_path / "train.json", of_videos(1, "Now."))
    folder = media(tmp_path / "cut", "v_0_000000_000002.mp4", "v_0_2.0_9.0.mp4")
    first, second = segment_items(read_activitynet([path], [], None, Account()), folder)
    assert (first["media"], second["media"]) == ("v_0_000000_000002.mp4", "v_0_2.0_9.0.mp4")
    assert "start_seconds" not in first and "start_seconds" not in first["captions"][0]
    assert [item["group_index"] for item in (first, second)] == [0, 1]


def test_what_cannot_be_read_is_no_item(tmp_path):
    long = {"a": {"timestamps": [[0, 1]], "sentences": ["x" * 10_001]}}
    path = write(tmp_path / "train.json", long)
    ((name, reject),) = segment_items(
        read_activitynet([path], [], None, Account()), media(tmp_path / "v", "a.mp4")
    )
    assert isinstance(reject, Reject) and (name, reject.code) == ("a#0", RejectCode.BAD_CAPTIONS)
