"""Whole corpora: the same bytes every time, real media, restarts, and errors before any work."""

import hashlib
import io
import json

import av
import numpy as np
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

import mmstack
from beam_pipelines.items import manifest
from beam_pipelines.sources.digits import clip as clip_module
from beam_pipelines.sources.digits import generate, remote_corpus
from beam_pipelines.sources.digits.config import make_config
from mm_models.errors import UserError

_SMALL = {"num_train": 7, "num_val": 2, "num_test": 3}


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "_CLIPS_PER_PART", 5)
        yield


def _generate(folder, num_workers=1, preset="default", **overrides):
    stream = io.StringIO()
    config = make_config(preset, **{**_SMALL, **overrides})
    made = generate.generate_corpus(config, folder, num_workers, stream)
    return made, stream.getvalue()


def _digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, small_parts):
    folder = tmp_path_factory.mktemp("digits") / "corpus"
    _generate(folder)
    return folder


def test_same_seed_same_bytes_whatever_the_number_of_workers(corpus, tmp_path):
    _generate(tmp_path / "other", num_workers=2)
    assert _digests(tmp_path / "other") == _digests(corpus)
    assert len(_digests(corpus)) == 7 + 2 + 3 + 2


def test_another_seed_another_corpus(corpus, tmp_path):
    _generate(tmp_path / "other", seed=1)
    assert _digests(tmp_path / "other").keys() == _digests(corpus).keys()
    assert not set(_digests(tmp_path / "other").values()) & set(_digests(corpus).values())


def test_clips_do_not_depend_on_how_many_there_are(corpus, tmp_path):
    _generate(tmp_path / "fewer", num_train=1)
    name = "media/train/000000.mp4"
    assert _digests(tmp_path / "fewer")[name] == _digests(corpus)[name]


def test_the_manifest_is_valid_and_complete(corpus):
    items = [line.item for line in manifest.read(str(corpus / generate.MANIFEST))]
    assert [item["split"] for item in items] == ["train"] * 7 + ["val"] * 2 + ["test"] * 3
    assert len({item["id"] for item in items}) == 12
    assert all((corpus / item["media"]).stat().st_size > 1000 for item in items)
    assert max(len(item["objects"]) for item in items) == 4
    assert min(len(item["objects"]) for item in items) == 1


def test_corpus_info(corpus):
    info = json.loads((corpus / generate.CORPUS_INFO).read_text())
    content = (corpus / generate.MANIFEST).read_bytes()
    assert info["manifest_sha256"] == hashlib.sha256(content).hexdigest()
    assert info["num_clips"] == {"train": 7, "val": 2, "test": 3}
    assert len(info["voices"]["test_only"]) >= 2 and info["labels"][3] == "three"
    assert info["config"]["frame_size"] == 64


def test_media_decode_and_sound_is_where_the_utterances_are(corpus):
    for line in manifest.read(str(corpus / generate.MANIFEST)):
        frames, waveform, rate = _decode(corpus / line.item["media"])
        assert frames.shape == (17, 64, 64, 3)
        assert len(waveform) / rate == pytest.approx(2.125, abs=0.05)
        _check_energy(waveform, rate, line.item["utterances"])


def _decode(path):
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.average_rate == 8
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    with av.open(str(path)) as container:
        decoded = list(container.decode(audio=0))
        assert decoded[0].time == 0
        waveform = np.concatenate([frame.to_ndarray()[0] for frame in decoded])
        return frames, waveform, decoded[0].sample_rate


def _check_energy(waveform, rate, utterances):
    spoken = np.zeros(len(waveform), bool)
    margin = int(0.03 * rate)
    for utterance in utterances:
        start, end = (int(utterance[f"{e}_seconds"] * rate) for e in ("start", "end"))
        assert np.square(waveform[start:end]).mean() > 1e-3
        spoken[max(start - margin, 0) : end + margin] = True
        edges = [utterance["start_seconds"], utterance["end_seconds"]]
        times = [p[f"{e}_seconds"] for p in utterance["phonemes"] for e in ("start", "end")]
        assert edges[0] <= min(times) and max(times) <= edges[1] + 1e-3
    if np.count_nonzero(~spoken) > margin:
        assert np.square(waveform[~spoken]).mean() < 1e-4


def test_decoded_pixels_agree_with_the_boxes(tmp_path):
    """Bright pixels of the decoded file lie in the boxes; codec blur is allowed 2 pixels."""
    _generate(tmp_path / "single", preset="single", num_train=4, video_noise=0.0)
    for line in manifest.read(str(tmp_path / "single" / generate.MANIFEST)):
        frames, _, _ = _decode(tmp_path / "single" / line.item["media"])
        (entry,) = line.item["objects"]
        for frame, sighting in zip(frames, entry["track"], strict=True):
            bright = frame.max(axis=-1) > 100
            y0, x0, y1, x1 = np.round(np.array(sighting["box_yxyx_norm"]) * 64).astype(int)
            inside = bright[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2].sum()
            assert inside == bright.sum() > 50


def test_larger_frames_and_other_rates(tmp_path):
    overrides = {"num_train": 1, "num_val": 0, "num_test": 0, "frame_size": 128}
    _generate(tmp_path / "large", **overrides, num_frames=40, frame_rate_hz=12.5)
    (line,) = manifest.read(str(tmp_path / "large" / generate.MANIFEST))
    with av.open(str(tmp_path / "large" / line.item["media"])) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 40 and (frames[0].width, frames[0].height) == (128, 128)
    assert float(frames[-1].time) == pytest.approx(39 / 12.5)


def test_restart_continues_and_gives_the_same_corpus(corpus, tmp_path, monkeypatch):
    real = clip_module.make_clip

    def stops_late(config, split, index):
        if split == "val":
            raise KeyboardInterrupt
        return real(config, split, index)

    monkeypatch.setattr(generate, "make_clip", stops_late)
    with pytest.raises(KeyboardInterrupt):
        _generate(tmp_path / "corpus")
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-corpus"]

    made_again = []

    def counts(config, split, index):
        made_again.append((split, index))
        return real(config, split, index)

    monkeypatch.setattr(generate, "make_clip", counts)
    _, shown = _generate(tmp_path / "corpus")
    assert len(made_again) == 5 and "continuing after 7 of 12 clips" in shown
    assert _digests(tmp_path / "corpus") == _digests(corpus)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_half_made_corpus_of_other_settings_is_not_reused(tmp_path):
    half = tmp_path / ".tmp-corpus"
    (half / "parts").mkdir(parents=True)
    (half / "config.json").write_text("{}")
    (half / "parts" / "val-000000.jsonl").write_text("nonsense")
    _generate(tmp_path / "corpus", num_train=1)
    assert "nonsense" not in (tmp_path / "corpus" / generate.MANIFEST).read_text()


def test_one_process_at_a_time_makes_a_corpus(tmp_path, monkeypatch):
    refused = []

    def meanwhile(config, split, index):
        for settings in ({}, {"seed": 5}):
            with pytest.raises(UserError, match="another process is making"):
                _generate(tmp_path / "corpus", **settings)
            refused.append(settings)
        return real(config, split, index)

    real = clip_module.make_clip
    monkeypatch.setattr(generate, "make_clip", meanwhile)
    _generate(tmp_path / "corpus", num_train=1, num_val=0, num_test=0)
    assert len(refused) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    assert sorted(path.name for path in (tmp_path / "corpus").iterdir()) == [
        *("corpus.json", "manifest.jsonl", "media"),
    ]


def test_finished_corpora_are_left_alone(corpus):
    before = _digests(corpus)
    made, _ = _generate(corpus)
    assert not made and _digests(corpus) == before
    with pytest.raises(UserError, match="seed=0, not 5"):
        _generate(corpus, seed=5)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not a corpus"):
        _generate(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_command(tmp_path, capsys):
    output = str(tmp_path / "out")
    flags = ["--preset=single", "--num_train=1", "--num_val=0", "--num_test=0", "--workers=1"]
    flags += ["--frame_rate=10", "--num_frames=20", "--languages=en,fr"]
    assert mmstack.main(["corpus", "digits", f"--output={output}", *flags]) == 0
    assert "manifest.jsonl" in capsys.readouterr().out
    (line,) = manifest.read(output + "/manifest.jsonl")
    assert [caption["language"] for caption in line.item["captions"]] == ["en", "fr"]
    assert len(line.item["objects"][0]["track"]) == 20


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--preset=nope"], "nope"),
        (["--frame_size=33"], "frame_size"),
        (["--frame_rate=0"], "frame_rate"),
        (["--workers=0"], "--workers"),
        (["--languages=xx"], "xx"),
        (["--output=/proc/nowhere/corpus"], "cannot write"),
        (["--output=nosuchstore://bucket/corpus"], "nosuchstore"),
    ],
)
def test_mistakes_exit_with_2_and_write_nothing(flags, named, tmp_path, capsys):
    if not any(flag.startswith("--output") for flag in flags):
        flags = [*flags, f"--output={tmp_path / 'out'}"]
    assert mmstack.main(["corpus", "digits", *flags]) == 2
    message = capsys.readouterr().err.strip()
    assert named in message and len(message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


class _MemoryFileSystem(FileSystem):
    """Files in a dictionary, as a stand-in for an object store."""

    stored: dict[str, bytes] = {}

    @classmethod
    def scheme(cls):
        return "digitsmemory"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        raise NotImplementedError

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, content in sorted(self.stored.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content))

    def create(self, path, mime_type="", compression_type=None):
        stored = self.stored

        class Writer(io.BytesIO):
            def close(self):
                stored[path] = self.getvalue()
                super().close()

        return Writer()

    def open(self, path, mime_type="", compression_type=None):
        if path not in self.stored:
            raise BeamIOError(f"no {path}")
        return io.BytesIO(self.stored[path])

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def exists(self, path):
        return path in self.stored

    def size(self, path):
        return len(self.stored[path])

    def last_updated(self, path):
        return 0

    def checksum(self, path):
        return hashlib.sha256(self.stored[path]).hexdigest()

    def metadata(self, path):
        return FileMetadata(path, self.size(path))

    def delete(self, paths):
        for path in paths:
            del self.stored[path]


def test_remote_output_gets_the_same_bytes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    address = "digitsmemory://bucket/corpus"
    config = make_config(**_SMALL)
    assert generate.generate_remote_corpus(config, address, 1)
    stored = {
        path.removeprefix(address + "/"): hashlib.sha256(content).hexdigest()
        for path, content in _MemoryFileSystem.stored.items()
    }
    assert stored == _digests(corpus)
    assert not list(tmp_path.iterdir())
    assert not generate.generate_remote_corpus(config, address, 1)
    with pytest.raises(UserError, match="seed"):
        generate.generate_remote_corpus(make_config(seed=3, **_SMALL), address, 1)
    assert remote_corpus.is_remote(address) and not remote_corpus.is_remote("data/digits")
