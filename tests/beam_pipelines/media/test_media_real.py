"""Whole and windowed decoding of real clips, talking heads, recordings and photographs."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import ClipMedia, DecodeRequest
from beam_pipelines.media.isolated import IsolatedDecoder

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
REQUEST = DecodeRequest(frame_rate_hz=10, short_side=64, sample_rate_hz=16_000)


def files(folder, *suffixes, every=1):
    found = sorted(p for p in (DATA / folder).rglob("*") if p.suffix in suffixes)
    return found[::every]


# flower.mp4 has a silent sound track.
def test_everything_good_decodes_without_warnings():
    paths = files("av_clips", ".mp4", ".webm", ".mkv", ".flv", every=4)
    paths += files("grid/s1", ".mp4", every=90) + files("grid/s1_mpg", ".mpg", every=8)
    paths += files("esc10", ".ogg", every=60) + files("fsdd", ".wav", every=100)
    paths += files("speech", ".wav", ".flac", ".mp3", every=20) + files("coco", ".jpg", every=20)
    assert len(paths) > 30
    with IsolatedDecoder(cpu_seconds=120.0, memory_bytes=1 << 30) as decoder:
        for path in paths:
            clip = decoder.run("clip_media", str(path), REQUEST)
            assert isinstance(clip, ClipMedia) and not clip.warnings, (path, clip)
            stated = clip.info.duration_seconds
            if clip.frames_jpeg and stated:
                assert len(clip.frames_jpeg) / 10 == pytest.approx(stated, abs=0.25), path
            if clip.waveform is not None:
                assert len(clip.waveform) / 16_000 == pytest.approx(stated, abs=0.25), path
                assert np.abs(clip.waveform).max() > 1e-3 or path.name == "flower.mp4", path


def test_grid_clip_has_its_frames():
    path = files("grid/s1", ".mp4")[0]
    clip = decode.clip_media(str(path), DecodeRequest(frame_rate_hz=25, short_side=96))
    assert len(clip.frames_jpeg) == 75 and (clip.height, clip.width) == (96, 120)
    assert len(clip.waveform) == pytest.approx(3 * 44_100, rel=0.02)
    picture = np.asarray(Image.open(io.BytesIO(clip.frames_jpeg[40])))
    assert picture.shape == (96, 120, 3) and picture.std() > 20


def test_photographs_keep_their_aspect():
    sizes = json.loads((DATA / "coco" / "instances.json").read_text())
    by_name = {i["file_name"]: (i["width"], i["height"]) for i in sizes["images"]}
    checked = 0
    for path in files("coco/images", ".jpg", every=15):
        if path.name not in by_name:
            continue
        info = decode.clip_media(str(path), REQUEST).info
        assert (info.width, info.height) == by_name[path.name]
        checked += 1
    assert checked > 3


def test_a_window_of_a_real_clip_equals_the_whole():
    path = str(DATA / "av_clips" / "chroma_key_man.mp4")
    whole = decode.decode(path, REQUEST)
    part = DecodeRequest(
        frame_rate_hz=10, short_side=64, sample_rate_hz=16_000, start_seconds=15.0, end_seconds=16.5
    )
    window = decode.decode(path, part)
    np.testing.assert_array_equal(window.frames, whole.frames[150:165])
    np.testing.assert_allclose(window.waveform, whole.waveform[240_000:264_000], atol=1e-4)
    np.testing.assert_allclose(window.frame_times_seconds, 15 + np.arange(15) / 10)
