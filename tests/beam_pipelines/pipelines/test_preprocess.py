"""`mmstack preprocess` on small real media: counts, order, damage, crashes, remote stores."""

import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.pipelines import preprocess
from beam_pipelines.pipelines.folder_description import check_counts
from beam_pipelines.record import contract, reading
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, tree, write_clip, write_image, write_lines
from tests.beam_pipelines.pipelines import memory_filesystem

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three clips, an image, and four items that cannot become records."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, seconds in enumerate((1.0, 2.0, 3.0)):
        write_clip(folder / f"{number}.mp4", seconds=seconds, shade=10 * number)
    write_image(folder / "still.png")
    (folder / "damaged.mp4").write_bytes((folder / "0.mp4").read_bytes()[:700])
    (folder / "empty.mp4").write_bytes(b"")
    timed = [
        {"text": f"caption {n}", "start_seconds": n * 0.5, "end_seconds": n * 0.5 + 0.5}
        for n in range(6)
    ]
    items = [
        {
            "id": f"clip/{number}",
            "media": f"{number}.mp4",
            "split": "train" if number else "test",
            "captions": timed[: 2 * number + 2],
            "labels": [{"index": number, "text": "abc"[number]}],
        }
        for number in range(3)
    ]
    items += [
        {"id": "still", "media": "still.png", "split": "train", "captions": [{"text": "grey"}]},
        {"id": "damaged", "media": "damaged.mp4"},
        {"id": "empty", "media": "empty.mp4"},
        {"id": "gone", "media": "gone.mp4"},
        {"id": "clip/1", "media": "0.mp4"},
    ]
    write_lines(folder / "manifest.jsonl", items)
    return folder


def run(corpus, output, *options: str) -> int:
    return main(
        ["preprocess", f"--manifest={corpus}/manifest.jsonl", f"--output={output}", *TINY, *options]
    )


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "records"
    assert run(corpus, output) == 0
    return output


def test_everything_is_accounted_for(whole):
    info = json.loads((whole / contract.DATASET_INFO).read_text())
    assert info["counts"] == {
        "items": 8,
        "items_with_records": 4,
        "records": 4,
        "rejected_items": 4,
        "rejected_clips": info["counts"]["rejected_clips"],
    }
    rejects = [json.loads(line) for line in (whole / "rejects.jsonl").read_text().splitlines()]
    codes = {reject["id"]: reject["code"] for reject in rejects}
    assert set(codes) == {"damaged", "empty", "gone", "clip/1"}
    assert codes["gone"] == "file_missing"
    assert codes["empty"] == "file_empty"
    assert codes["clip/1"] == "duplicate_id"
    assert [reject["id"] for reject in rejects] == sorted(codes)
    assert info["labels"] == ["a", "b", "c"]
    assert set(info["features"]) == set(contract.FEATURES)
    assert info["media"]["audio_encoding"] == "pcm16"
    assert not [path for path in whole.rglob("*") if path.is_dir()]


def test_dataset_info_describes_the_shards(whole):
    info = json.loads((whole / contract.DATASET_INFO).read_text())
    for split, about in info["splits"].items():
        assert about["num_records"] == len(list(reading.iterate(str(whole), split)))
        for shard in about["shards"]:
            assert (whole / shard["file"]).stat().st_size == shard["size_bytes"]
            assert reading.files.sha256(str(whole / shard["file"])) == shard["sha256"]


def test_frames_sound_and_text_of_a_clip(whole):
    context, lists = reading.find(str(whole), "train", "clip/1#0")
    assert context[contract.NUM_FRAMES] == [10]
    assert context[contract.FRAME_RATE] == [5.0]
    assert (context[contract.HEIGHT], context[contract.WIDTH]) == ([24], [36])
    assert [step[0] for step in lists[contract.FRAME_TIMESTAMPS]] == list(
        range(0, 2_000_000, 200_000)
    )
    grey = [np.mean(Image.open(io.BytesIO(f[0])).convert("L")) for f in lists[contract.FRAMES]]
    # Brightness rises by 20 a source frame, 40 a stored one, from 10 on, until it wraps.
    np.testing.assert_allclose(grey[:6], 10 + 40 * np.arange(6), atol=6)
    pcm = np.frombuffer(lists[contract.WAVEFORM_PCM16][0][0], "<i2") / 32768
    assert context[contract.SAMPLE_RATE] == [8000]
    assert len(pcm) == pytest.approx(16000, abs=1100)
    spectrum = np.abs(np.fft.rfft(pcm[:8000]))
    assert int(np.argmax(spectrum)) == 440
    assert context[contract.CAPTION][:2] == [b"caption 1", b"caption 2"]
    assert context[contract.LABEL_TEXT] == [b"b"]


def test_a_still_image_is_one_frame_without_sound(whole):
    context, lists = reading.find(str(whole), "train", "still#0")
    assert context[contract.NUM_FRAMES] == [1]
    assert context[contract.SAMPLE_RATE] == [0]
    assert context[contract.CLIP_END] == [0]
    assert contract.WAVEFORM_PCM16 not in lists


def test_statistics(whole):
    splits = json.loads((whole / "statistics.json").read_text())["splits"]
    assert splits["train"]["numbers"]["stored_frames"]["count"] == 3
    assert splits["train"]["numbers"]["source_frame_rate_hz"]["max"] == 10.0
    assert splits["test"]["numbers"]["loudness_dbfs"]["mean"] == pytest.approx(-9.0, abs=0.7)
    assert splits["train"]["words"]["caption_vocabulary"]["top"][0] == ["caption", 10]
    assert splits["train"]["words"]["modalities"]["top"][0] == ["text", 3]


def test_running_again_gives_the_same_shards(corpus, whole, tmp_path):
    for options in (["--workers=2", "--direct_running_mode=multi_threading"], []):
        assert run(corpus, tmp_path / "records", "--overwrite", *options) == 0
        for pattern in ("*.tfrecord", "*.index", "rejects.jsonl", "statistics.json"):
            assert tree(tmp_path / "records", pattern) == tree(whole, pattern)


def test_stride_windows_with_nearest_captions(corpus, tmp_path):
    output = tmp_path / "records"
    options = ["--windows=stride", "--window_seconds=1", "--nearest_captions=2"]
    assert run(corpus, output, *options, "--shards_per_split=3") == 0
    found = {c[contract.CLIP_KEY][0]: c for c, _ in reading.iterate(str(output), "train")}
    assert sorted(found) == [
        b"clip/1#0",
        b"clip/1#1",
        b"clip/2#0",
        b"clip/2#1",
        b"clip/2#2",
        b"still#0",
    ]
    last = found[b"clip/2#2"]
    assert last[contract.CLIP_START] == [2_000_000]
    assert last[contract.NUM_FRAMES] == [5]
    # The clip's middle is 2.5 s; captions 4 (2.25 s) and 5 (2.75 s) are equally near.
    assert last[contract.CAPTION] == [b"caption 4", b"caption 5"]
    names = sorted(path.name for path in output.glob("test-*.tfrecord"))
    assert names == [contract.shard_name("test", shard, 3) for shard in range(3)]


def test_windows_around_captions(corpus, tmp_path, capsys):
    output = tmp_path / "records"
    options = ["--windows=captions", "--window_seconds=0.8", "--nearest_captions=1", "--no_audio"]
    assert run(corpus, output, *options) == 0
    clips = [c for c, _ in reading.iterate(str(output), "train")]
    assert len(clips) == 4 + 6
    for context in clips:
        middle = (context[contract.CLIP_START][0] + context[contract.CLIP_END][0]) / 2
        nearest = (context[contract.CAPTION_START][0] + context[contract.CAPTION_END][0]) / 2
        assert abs(middle - nearest) <= 150_000
        assert context[contract.SAMPLE_RATE] == [0]
    assert "bad_captions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--manifest=none.jsonl"], "none.jsonl cannot be read"),
        (["--frame_rate_hz=0"], "--frame_rate_hz 0.0: expected a positive number"),
        (["--workers=many"], "--workers many: expected auto"),
        (["--no_video", "--no_audio"], "leave words alone to store"),
        (["--text_only", "--windows=stride"], "--windows stride cuts media"),
        (["--split_shares=train=2"], "--split_shares train=2"),
        (["--runner=DaskRunner"], "silently writes nothing"),
        (["--output=/proc/nowhere/records"], "cannot be written"),
        (["--jpeg_quality=0"], "--jpeg_quality 0"),
    ],
)
def test_mistakes_are_named_before_any_work(corpus, tmp_path, capsys, options, message):
    assert run(corpus, tmp_path / "records", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_kept(corpus, whole, capsys):
    before = tree(whole)
    assert run(corpus, whole) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert tree(whole) == before


def test_no_record_at_all_is_an_error(tmp_path, capsys):
    write_lines(tmp_path / "manifest.jsonl", [{"id": "a", "media": "gone.mp4"}])
    assert run(tmp_path, tmp_path / "records") == 2
    assert "file_missing 1" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_a_run_that_dies_leaves_only_work_that_the_next_run_removes(corpus, tmp_path):
    code = (
        "import os, sys; from beam_pipelines.pipelines import transforms\n"
        "transforms.WriteShard.process = lambda *_: os.kill(os.getpid(), 9)\n"
        "from mmstack import main; main(sys.argv[1:])"
    )
    arguments = [f"--manifest={corpus}/manifest.jsonl", f"--output={tmp_path}/records", *TINY]
    died = subprocess.run([sys.executable, "-c", code, "preprocess", *arguments], cwd=ROOT)
    assert died.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".tmp-records-")
    assert run(corpus, tmp_path / "records") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_lost_and_doubled_items_are_a_hard_error():
    counts = {"items": 3, "items_with_records": 2, "records": 2, "rejected_items": 1}
    splits = {"train": {"num_records": 2}}
    check_counts(counts, 3, splits)
    for wrong, items_in, written in ((counts, 4, 2), (counts, 3, 1), (counts | {"items": 2}, 3, 2)):
        with pytest.raises(RuntimeError, match="counts disagree"):
            check_counts(wrong, items_in, {"train": {"num_records": written}})


def test_remote_paths_everywhere(corpus, whole, capsys):
    memory_filesystem.clear()
    store = memory_filesystem.OBJECTS
    for name, content in tree(corpus).items():
        store[f"memory://bucket/in/{name}"] = content
    died = f"memory://bucket/out/.tmp-records-{'0' * 32}"
    store[f"{died}/unfinished/left"] = b"of a run that died"
    store[f"{died}/owner.json"] = b"{}"
    assert run("memory://bucket/in", "memory://bucket/out/records") == 0
    written = {
        path.removeprefix("memory://bucket/out/records/"): content
        for path, content in store.items()
        if path.startswith("memory://bucket/out/")
    }
    assert set(written) == set(tree(whole))
    for name, content in written.items():
        if name.endswith((".tfrecord", ".index")):
            assert content == (whole / name).read_bytes()
    assert run("memory://bucket/in", "memory://bucket/out/records") == 2
    assert main(["inspect", "--data=memory://bucket/out/records", "--split=test"]) == 0
    assert "clip/0#0" in capsys.readouterr().out
    vocabulary = "--output=memory://bucket/words.txt"
    manifest_flag = "--manifest=memory://bucket/in/manifest.jsonl"
    assert main(["vocabulary", manifest_flag, vocabulary, "--workers=1"]) == 0
    assert store["memory://bucket/words.txt"].startswith(b"<pad>\n<bos>\n<eos>\n<unk>\ncaption\n")


def test_counts_survive_worker_processes(corpus, whole, tmp_path):
    """The multi-process path, on enough items that the command chooses it."""
    items = [
        {"id": f"{number:03d}", "media": f"{corpus}/{number % 3}.mp4", "split": "train"}
        for number in range(66)
    ]
    write_lines(tmp_path / "manifest.jsonl", [*items, {"id": "gone", "media": "gone.mp4"}])
    flags = [f"--manifest={tmp_path}/manifest.jsonl", *TINY, "--frame_rate_hz=1", "--no_audio"]
    for workers in (1, 2):
        output = f"--output={tmp_path}/records-{workers}"
        command = [sys.executable, "-m", "mmstack", "preprocess", *flags, output]
        command += [f"--workers={workers}", "--records_per_shard=20"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "items in = with records + rejected (67 = 66 + 1)" in done.stdout
        assert "WARNING" not in done.stderr
        assert "67/67 items" in done.stderr
    for pattern in ("*.tfrecord", "*.index", "rejects.jsonl", "statistics.json"):
        assert tree(tmp_path / "records-1", pattern) == tree(tmp_path / "records-2", pattern)


def test_user_errors_name_the_folder_that_is_no_record_folder(tmp_path):
    with pytest.raises(UserError, match="name a folder that `mmstack preprocess` wrote"):
        reading.read_dataset_info(str(tmp_path))


def test_a_manifest_that_changes_meanwhile_is_named(tmp_path, capsys, monkeypatch):
    write_clip(tmp_path / "a.mp4")
    path = write_lines(tmp_path / "manifest.jsonl", [{"id": "a", "media": "a.mp4"}])
    scan = preprocess.manifest.scan

    def scan_then_change(*arguments, **options):
        found = scan(*arguments, **options)
        write_lines(path, [{"id": "longer", "media": "a.mp4"}])
        return found

    monkeypatch.setattr(preprocess.manifest, "scan", scan_then_change)
    assert run(tmp_path, tmp_path / "records") == 2
    assert "changed while the job ran" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()
