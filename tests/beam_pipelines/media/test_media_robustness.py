"""Every odd, damaged or hostile file is decoded or rejected exactly as the committed table says."""

import json
import pathlib

import pytest

from beam_pipelines.media.decode_contract import DecodeRequest, MediaInfo
from beam_pipelines.media.isolated import IsolatedDecoder
from beam_pipelines.rejects import Reject

ROOT = pathlib.Path(__file__).parents[3]
FOLDER = ROOT.parent / "shared" / "data" / "robustness"
TABLE = json.loads((ROOT / "tests" / "golden" / "robustness.json").read_text())

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no shared data")


@pytest.fixture(scope="module")
def outcomes():
    request = DecodeRequest(**TABLE["request"])
    with IsolatedDecoder(cpu_seconds=60.0, memory_bytes=1 << 30) as decoder:
        return {
            name: (
                decoder.run("clip_media", str(FOLDER / name), request),
                decoder.run("probe", str(FOLDER / name)),
            )
            for name in TABLE["files"]
        }


def expected():
    return {
        entry["file"]: entry
        for entry in json.loads((FOLDER / "expected.json").read_text())["files"]
    }


def test_table_is_complete():
    names = {name for name in expected() if not name.startswith("text/")}
    assert set(TABLE["files"]) == names


def test_outcomes_equal_the_table(outcomes):
    found = {}
    for name, (clip, _) in outcomes.items():
        if isinstance(clip, Reject):
            found[name] = {"outcome": "rejected", "code": str(clip.code)}
        else:
            found[name] = {"outcome": "decoded"}
            if clip.frames_jpeg:
                found[name] |= {
                    "frames": len(clip.frames_jpeg),
                    "height": clip.height,
                    "width": clip.width,
                }
            if clip.waveform is not None:
                found[name]["samples"] = len(clip.waveform)
    wanted = {
        name: {key: value for key, value in entry.items() if key != "why"}
        for name, entry in TABLE["files"].items()
    }
    assert found == wanted


def test_rejects_say_why_without_the_path(outcomes):
    for name, (clip, _) in outcomes.items():
        if isinstance(clip, Reject):
            assert clip.detail and str(FOLDER) not in clip.detail, name


def test_what_is_decoded_is_also_described(outcomes):
    for name, (clip, info) in outcomes.items():
        if isinstance(clip, Reject):
            continue
        assert isinstance(info, MediaInfo), (name, info)
        assert info.has_video == bool(clip.frames_jpeg), name
        assert info.has_audio == (clip.waveform is not None), name
        assert (info.width, info.height, info.rotation_degrees) == (
            clip.info.width,
            clip.info.height,
            clip.info.rotation_degrees,
        ), name


SHIFTED = ("video/audio_late_1s.mp4", "video/fragmented.mp4")  # silence is put before or between


def test_lengths_of_sound_agree_with_an_independent_count(outcomes):
    compared = 0
    for name, entry in expected().items():
        measured = entry.get("measured", {})
        clip = outcomes[name][0] if name in outcomes else None
        if not measured.get("audio_samples") or isinstance(clip, Reject) or name in SHIFTED:
            continue
        seconds = measured["audio_samples"] / clip.info.audio_sample_rate_hz
        assert abs(len(clip.waveform) / 16_000 - seconds) < 0.11, name
        compared += 1
    assert compared > 50
