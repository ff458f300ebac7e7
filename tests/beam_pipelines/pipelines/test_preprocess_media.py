"""Files that are none, damage by its share and place, and what the statistics say of the media."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.record import contract, reading
from mmstack import main
from tests.beam_pipelines.media import media_samples as samples
from tests.beam_pipelines.media.small_media import TINY, write_image, write_lines


def preprocess(folder, output, *options):
    arguments = [f"--manifest={folder}/manifest.jsonl", f"--output={output}", *TINY, *options]
    assert main(["preprocess", *arguments, "--split_shares=train=1"]) == 0
    return [json.loads(line) for line in (output / "rejects.jsonl").read_text().splitlines()]


def keys(output):
    return {c[contract.CLIP_KEY][0].decode() for c, _ in reading.iterate(str(output), "train")}


def statistics(output):
    return json.loads((output / "statistics.json").read_text())["splits"]["train"]


def test_what_is_no_file_costs_its_item_only(tmp_path, capsys):
    media = tmp_path / "media"
    media.mkdir()
    for name in ("good", "piped", "endless"):
        write_image(media / f"{name}.png")
    os.mkfifo(media / "pipe.mp4")
    os.mkfifo(media / "piped.txt")
    os.symlink("/dev/zero", media / "zero.mp4")
    os.symlink("/dev/zero", media / "endless.txt")
    os.symlink("nowhere", media / "gone.mp4")
    os.symlink("circle.mp4", media / "circle.mp4")
    (tmp_path / "other.png").write_bytes((media / "good.png").read_bytes())
    os.link(tmp_path / "other.png", os.fsencode(media) + b"/latin\xe9.png")
    manifest = tmp_path / "manifest.jsonl"
    assert main(["manifest", "folder", f"--folder={media}", f"--output={manifest}"]) == 0
    printed = capsys.readouterr().out
    lines = (tmp_path / "manifest.jsonl.rejects.jsonl").read_text().splitlines()
    rejected = {reject["id"]: reject["detail"] for reject in map(json.loads, lines)}
    assert set(rejected) == {"piped.png", "endless.png", "latin\\udce9.png"}
    assert "not a regular file" in rejected["piped.png"]
    assert "latin\\udce9.png" in printed
    rejects = preprocess(tmp_path, tmp_path / "records")
    assert {reject["id"]: reject["code"] for reject in rejects} == {
        "pipe.mp4": "not_media",
        "zero.mp4": "not_media",
        "gone.mp4": "file_missing",
        "circle.mp4": "file_missing",
    }
    assert keys(tmp_path / "records") == {"good.png#0"}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Eight seconds with a key frame a second, of which the bytes in the middle are overwritten."""
    folder = tmp_path_factory.mktemp("damaged")
    noise = [
        np.random.default_rng(k // 25).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        for k in range(200)
    ]
    options = {"g": "25", "bf": "0", "qp": "30"}
    samples.write_video(folder / "d.mp4", noise, options=options)
    content = bytearray((folder / "d.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 24] = b"\xff\x00\xab" * 8
    (folder / "d.mp4").write_bytes(content)
    write_lines(folder / "manifest.jsonl", [{"id": "d", "media": "d.mp4"}])
    return folder


def test_damage_costs_the_clips_that_it_lies_in(damaged, tmp_path):
    rejects = preprocess(damaged, tmp_path / "r", "--windows=stride", "--window_seconds=1")
    assert 1 <= len(rejects) <= 2
    assert {reject["code"] for reject in rejects} == {"corrupt_video"}
    assert len(keys(tmp_path / "r")) == 8 - len(rejects)


def test_a_share_of_damage_can_be_accepted(damaged, tmp_path, capsys):
    rejected = main(
        ["preprocess", f"--manifest={damaged}/manifest.jsonl", f"--output={tmp_path}/r", *TINY]
    )
    assert rejected == 2 and "corrupt_video 1" in capsys.readouterr().err
    assert preprocess(damaged, tmp_path / "r", "--max_damaged_share=0.5") == []
    found = statistics(tmp_path / "r")["words"]["warnings"]["top"]
    assert any("of the video is damaged" in warning for warning, _ in found)
    info = json.loads((tmp_path / "r" / contract.DATASET_INFO).read_text())
    assert info["config"]["max_damaged_share"] == 0.5
    wrong = [f"--manifest={damaged}/manifest.jsonl", f"--output={tmp_path}/s"]
    assert main(["preprocess", *wrong, "--max_damaged_share=1.5"]) == 2
    assert "--max_damaged_share 1.5: expected 0 to 1" in capsys.readouterr().err


def test_shares_of_what_teaches_nothing(tmp_path):
    tone, hiss = samples.sine(440, 0.5), np.full((1, 8000), 1e-5, np.float32)
    samples.write_audio(tmp_path / "tone.wav", tone[None], codec="pcm_f32le")
    samples.write_audio(tmp_path / "loud.wav", 4 * tone[None], codec="pcm_f32le")
    samples.write_audio(tmp_path / "hiss.wav", hiss, codec="pcm_f32le")
    samples.write_audio(tmp_path / "stereo.wav", np.stack([tone, -tone]), codec="pcm_f32le")
    Image.new("RGB", (40, 40), (90, 91, 92)).save(tmp_path / "blank.png")
    Image.fromarray(samples.quadrants()).save(tmp_path / "picture.png")
    names = ("tone.wav", "loud.wav", "hiss.wav", "stereo.wav", "blank.png", "picture.png")
    write_lines(tmp_path / "manifest.jsonl", [{"id": name, "media": name} for name in names])
    assert preprocess(tmp_path, tmp_path / "records") == []
    found = statistics(tmp_path / "records")
    shares = {
        name: (about["count"], about["mean"])
        for name, about in found["numbers"].items()
        if name.startswith("share_")
    }
    assert shares == {
        "share_nearly_blank": (2, 0.5),
        "share_nearly_silent": (4, 0.5),
        "share_limited": (4, 0.25),
    }
    assert found["numbers"]["audio_peak"]["max"] == pytest.approx(2.0, abs=0.01)
    properties = dict(found["words"]["source_properties"]["top"])
    assert properties == {"limited": 1, "opposite_channels": 1}
    context, _ = reading.find(str(tmp_path / "records"), "train", "loud.wav#0")
    assert context[contract.AUDIO_PEAK][0] == pytest.approx(2.0, abs=0.01)
    assert context[contract.SOURCE_PROPERTIES] == [b"limited"]
