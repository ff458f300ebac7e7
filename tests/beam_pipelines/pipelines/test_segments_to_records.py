"""Segments of files become records: pictures, sound and captions cut to them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media.isolated import IsolatedDecoder
from beam_pipelines.pipelines.preprocess_item import ItemProcessor, PreprocessConfig
from beam_pipelines.record import contract, reading
from beam_pipelines.record.serialize import parse
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, write_clip, write_lines

CAPTIONS = [
    {"text": "whole"},
    {"text": "first", "start_seconds": 0.0, "end_seconds": 0.9},
    {"text": "straddles", "start_seconds": 0.8, "end_seconds": 1.4},
    {"text": "inside", "start_seconds": 1.6, "end_seconds": 1.8},
    {"text": "last", "start_seconds": 2.4, "end_seconds": 3.0},
]
SEGMENTS = {"middle": (1.0, 2.0), "over the end": (2.6, 9.0), "behind": (3.5, 4.0), "all": None}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments")
    write_clip(folder / "a.mp4", seconds=3.0)
    items = [
        {"id": name, "media": "a.mp4", "split": "train", "captions": CAPTIONS}
        | (dict(zip(("start_seconds", "end_seconds"), span, strict=True)) if span else {})
        for name, span in SEGMENTS.items()
    ]
    items[0] |= {"group": "film", "group_index": 3}
    write_lines(folder / "manifest.jsonl", items)
    return folder


def preprocess(corpus, *options: str) -> tuple[dict[str, tuple[dict, dict]], dict[str, str], dict]:
    """Records by key, reject codes by id, and statistics."""
    output = corpus / f"records-{len(list(corpus.iterdir()))}"
    arguments = [f"--manifest={corpus}/manifest.jsonl", f"--output={output}", *TINY, *options]
    assert main(["preprocess", *arguments]) == 0
    made = {
        c[contract.CLIP_KEY][0].decode(): (c, x) for c, x in reading.iterate(str(output), "train")
    }
    lines = map(json.loads, (output / "rejects.jsonl").read_text().splitlines())
    statistics = json.loads((output / "statistics.json").read_text())["splits"]["train"]
    return made, {line["id"]: line["code"] for line in lines}, statistics


def test_a_segment_is_cut_out_of_its_file(corpus):
    made, rejects, _ = preprocess(corpus)
    assert rejects == {"behind": "too_short"}
    assert set(made) == {"middle#0", "over the end#0", "all#0"}
    context, lists = made["middle#0"]
    assert (context[contract.CLIP_START], context[contract.CLIP_END]) == ([1_000_000], [2_000_000])
    assert [step[0] for step in lists[contract.FRAME_TIMESTAMPS]] == [
        *range(1_000_000, 2_000_000, 200_000)
    ]
    grey = [np.mean(Image.open(io.BytesIO(f[0])).convert("L")) for f in lists[contract.FRAMES]]
    # Brightness rises by 20 a source frame, 40 a stored one, and wraps at 256.
    np.testing.assert_allclose(grey[:2], [200, 240], atol=8)
    assert context[contract.NUM_SAMPLES] == [8000]
    assert (context[contract.CLIP_GROUP], context[contract.CLIP_GROUP_INDEX]) == ([b"film"], [3])
    assert contract.CLIP_GROUP not in made["all#0"][0]
    assert context[contract.CAPTION] == [b"whole", b"inside", b"straddles"]
    assert context[contract.CAPTION_START] == [-1, 1_600_000, 1_000_000]
    assert context[contract.CAPTION_END] == [-1, 1_800_000, 1_400_000]
    context, lists = made["over the end#0"]
    assert context[contract.CLIP_END] == [pytest.approx(3_000_000, abs=100_000)]
    assert context[contract.CAPTION] == [b"whole", b"last"]
    assert len(made["all#0"][0][contract.CAPTION]) == len(CAPTIONS)


def test_a_file_is_hashed_once_for_its_segments(corpus, monkeypatch):
    calls = []
    run = IsolatedDecoder.run

    def counted(self, name, path, *arguments):
        calls.append((name, path))
        return run(self, name, path, *arguments)

    monkeypatch.setattr(IsolatedDecoder, "run", counted)
    write_clip(corpus / "b.mp4", seconds=1.0)
    config = PreprocessConfig(short_side=24, want_audio=False)
    hashes = []
    with ItemProcessor(config, str(corpus / "manifest.jsonl")) as processor:
        for number, media in enumerate(["a.mp4", "a.mp4", "b.mp4", "a.mp4"]):
            span = {"start_seconds": 0.1 * number, "end_seconds": 0.9}
            (made,) = processor.process({"id": str(number), "media": media, **span}).records
            (context, _) = parse(made.record)
            hashes += context[contract.MEDIA_SHA256]
    hashed = [path[-5:] for name, path in calls if name == "content_sha256"]
    assert hashed == ["a.mp4", "b.mp4", "a.mp4"]
    assert hashes[0] == hashes[1] == hashes[3] != hashes[2]


def test_windows_lie_inside_segments_and_statistics_count_what_is_kept(corpus):
    options = ("--windows=stride", "--window_seconds=0.4", "--nearest_captions=2", "--no_audio")
    made, _, statistics = preprocess(corpus, *options)
    starts = {key: c[contract.CLIP_START][0] / 1e6 for key, (c, _) in made.items()}
    assert [starts[f"middle#{n}"] for n in range(2)] == [1.0, 1.4]
    assert all(1.0 <= s <= 1.6 for key, s in starts.items() if key.startswith("middle"))
    assert all(len(c[contract.CAPTION]) == 2 for c, _ in made.values())
    numbers = statistics["numbers"]
    assert numbers["captions_per_clip"]["max"] == numbers["captions_per_clip"]["min"] == 2
    assert numbers["captions_left_out_per_clip"]["max"] == 3
    assert dict(statistics["words"]["caption_vocabulary"]["top"])["whole"] == len(made)
