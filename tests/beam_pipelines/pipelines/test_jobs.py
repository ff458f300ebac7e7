"""Jobs on runners of any kind: options, ends, errors that pass, and what is read and sent."""

import errno
import gc
import os
import pathlib
import subprocess
import sys

import pytest

from beam_pipelines.pipelines import (
    folder_description,
    job,
    job_errors,
    preprocess_item,
)
from beam_pipelines.pipelines.job_config import JobConfig
from beam_pipelines.pipelines.preprocess_item import ItemProcessor, PreprocessConfig
from beam_pipelines.record import reading, shards
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, tree, write_clip, write_lines
from tests.beam_pipelines.pipelines import memory_filesystem, stand_in_runners

ROOT = pathlib.Path(__file__).parents[3]
RUNNERS = stand_in_runners.__name__


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    write_clip(path)
    return path.read_bytes()


@pytest.fixture
def store(clip):
    """A bucket with four items of one clip each."""
    memory_filesystem.clear()
    objects = memory_filesystem.OBJECTS
    lines = []
    for number in range(4):
        objects[f"memory://bucket/in/{number}.mp4"] = clip
        lines.append(f'{{"id": "{number}", "media": "{number}.mp4", "split": "train"}}\n')
    objects["memory://bucket/in/manifest.jsonl"] = "".join(lines).encode()
    return memory_filesystem


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(preprocess_item, "_RETRY_PAUSES_SECONDS", (0.0, 0.0))


def preprocess(*options: str) -> int:
    paths = ["--manifest=memory://bucket/in/manifest.jsonl", "--output=memory://bucket/out/d"]
    return main(["preprocess", *paths, *TINY, "--no_audio", "--frame_rate_hz=2", *options])


def written() -> list[str]:
    return [path for path in memory_filesystem.OBJECTS if path.startswith("memory://bucket/out/")]


# Errors that pass.


def _reset() -> Exception:
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


ERRORS = [
    _reset,
    lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    lambda: PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    lambda: TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)),
    lambda: RuntimeError("503 Service Unavailable"),  # A store's own kind.
]


def test_an_error_that_passes_costs_nothing_and_one_that_stays_is_raised(store, no_pauses):
    config = PreprocessConfig(want_audio=False, frame_rate_hz=2, short_side=24)
    item = {"id": "2", "media": "2.mp4", "split": "train"}
    media = "memory://bucket/in/2.mp4"
    with ItemProcessor(config, "memory://bucket/in/manifest.jsonl") as processor:
        for error in ERRORS:
            store.FAULTS[media] = [error(), error()]
            outcome = processor.process(item)
            assert outcome.records and not outcome.rejects
            store.FAULTS[media] = [error() for _ in range(20)]
            with pytest.raises(UserError, match=f"{media} cannot be read .*run again"):
                processor.process(item)


def test_a_job_ends_where_a_store_does_not_answer(store, no_pauses, capsys):
    store.FAULTS["memory://bucket/in/2.mp4"] = [_reset() for _ in range(100)]
    assert preprocess() == 2
    said = capsys.readouterr().err
    assert "item 2: memory://bucket/in/2.mp4 cannot be read" in said and "run again" in said
    assert "Traceback" not in said and "while running" not in said
    gc.collect()
    assert not written()


def test_what_is_not_there_is_a_verdict_whatever_the_path_is_like(tmp_path, capsys):
    write_clip(tmp_path / "a.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    names = ["gone.mp4", "a.mp4/b.mp4", "folder.mp4", "circle.mp4", "x" * 300, "a.mp4"]
    items = [{"id": name, "media": name, "split": "train"} for name in names]
    write_lines(tmp_path / "manifest.jsonl", items)
    flags = [f"--manifest={tmp_path}/manifest.jsonl", f"--output={tmp_path}/records", *TINY]
    assert main(["preprocess", *flags]) == 0
    assert "reject file_missing  5" in capsys.readouterr().out


def test_a_decoder_that_cannot_start_is_no_verdict_on_items(store, no_pauses, capsys):
    assert preprocess("--decode_memory_mib=1") == 2
    said = capsys.readouterr().err
    assert "the decoding child did not start with memory_bytes=1048576" in said
    assert not written()


@pytest.mark.parametrize(("share", "code"), [("0.25", 0), ("0.24", 2), ("1", 0)])
def test_a_job_may_lose_a_limited_share(store, capsys, share, code):
    del store.OBJECTS["memory://bucket/in/2.mp4"]
    assert preprocess(f"--max_rejected_share={share}") == code
    if code:
        said = capsys.readouterr().err
        assert "1 of 4 items were rejected (file_missing 1)" in said
        assert "the first of each kind: file_missing: 2: memory://bucket/in/2.mp4" in said
        assert not written()


def test_the_limit_is_a_fifth_by_default_and_holds_for_clips_too(tmp_path):
    write_lines(tmp_path / "rejects.jsonl", [])
    config = JobConfig(manifest_path="m.jsonl", output="d")
    assert config.max_rejected_share == 0.2
    kept = {"items_with_records": 80, "records": 80}
    allowed = kept | {"rejected_items": 20, "rejected_clips": 20}
    folder_description.check_rejected_share(config, allowed, {}, str(tmp_path))
    for unit in ("items", "clips"):
        with pytest.raises(UserError, match=f"21 of 101 {unit} were rejected"):
            folder_description.check_rejected_share(
                config, allowed | {f"rejected_{unit}": 21}, {}, str(tmp_path)
            )


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    write_clip(tmp_path / "a.mp4")
    write_lines(tmp_path / "manifest.jsonl", [{"id": "a", "media": "a.mp4", "split": "train"}])
    flags = [f"--manifest={tmp_path}/manifest.jsonl", f"--output={tmp_path}/records", *TINY]
    open_write = shards.files.open_write
    monkeypatch.setattr(preprocess_item, "_RETRY_PAUSES_SECONDS", ())
    for ending in (".lines", ".staged", "train.json", "info.json"):

        def fail(path, ending=ending):
            if path.endswith(ending):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            return open_write(path)

        monkeypatch.setattr(shards.files, "open_write", fail)
        assert main(["preprocess", *flags]) == 2, ending
        said = capsys.readouterr().err
        assert "mmstack preprocess: a disk is full" in said, (ending, said)
        assert "Traceback" not in said
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "manifest.jsonl"]


def test_a_worker_process_prints_no_traceback(tmp_path):
    """On enough items that workers are processes, whose decoders cannot start."""
    write_clip(tmp_path / "a.mp4")
    items = [{"id": f"{n}", "media": "a.mp4", "split": "train"} for n in range(70)]
    write_lines(tmp_path / "manifest.jsonl", items)
    command = [sys.executable, "-m", "mmstack", "preprocess", *TINY, "--no_audio", "--workers=2"]
    command += [f"--manifest={tmp_path}/manifest.jsonl", f"--output={tmp_path}/records"]
    command += ["--decode_memory_mib=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "items" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mmstack preprocess: the decoding child did not start")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "manifest.jsonl"]


def test_addresses_that_nothing_reads_are_named_before_any_work(tmp_path, capsys):
    items = [{"id": "a", "media": "a.mp4"}, {"id": "b", "media": "nosuch://bucket/b.mp4"}]
    path = write_lines(tmp_path / "m.jsonl", items)
    assert main(["preprocess", f"--manifest={path}", f"--output={tmp_path}/d"]) == 2
    said = capsys.readouterr().err
    assert f"{path} line 2, field media: nothing that is installed reads nosuch://" in said
    assert list(tmp_path.iterdir()) == [path]


# Runners.


def test_the_state_of_a_job_is_looked_at_before_its_results(store, capsys):
    assert preprocess(f"--runner={RUNNERS}.FailedRunner") == 2
    said = capsys.readouterr().err
    assert "the job ended in the state FAILED" in said and "Traceback" not in said
    assert not written()


def test_a_job_is_cancelled_with_the_command(store):
    stand_in_runners.CANCELLED.clear()
    assert preprocess(f"--runner={RUNNERS}.InterruptedRunner") == 130
    assert stand_in_runners.CANCELLED == [True]
    assert not written()


def test_progress_is_asked_of_the_job(store, capsys, monkeypatch):
    monkeypatch.setattr(job, "_JOB_POLL_SECONDS", 0.01)
    monkeypatch.setattr(stand_in_runners, "LOOKS", 3)
    monkeypatch.setattr(
        job.ProgressBar.__init__,
        "__kwdefaults__",
        {**job.ProgressBar.__init__.__kwdefaults__, "line_seconds": 0.0},
    )
    assert preprocess(f"--runner={RUNNERS}.WorkingRunner") == 0
    said = capsys.readouterr().err
    assert "1/4 items" in said and "2/4 items" in said and "3/4 items" in said
    assert len(list(reading.iterate("memory://bucket/out/d", "train"))) == 4


def test_paths_of_this_machine_are_refused_on_a_runner_elsewhere(store, tmp_path, capsys, clip):
    elsewhere = f"--runner={RUNNERS}.WorkingRunner"
    assert preprocess(elsewhere, f"--output={tmp_path}/d") == 2
    assert f"--output {tmp_path}/d is a path of this machine" in capsys.readouterr().err
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(clip)
    manifest = write_lines(tmp_path / "in" / "m.jsonl", [{"id": "a", "media": "a.mp4"}])
    assert preprocess(elsewhere, f"--manifest={manifest}") == 2
    assert f"media {tmp_path}/in/a.mp4 is a path of this machine" in capsys.readouterr().err
    assert not written() and [path.name for path in tmp_path.iterdir()] == ["in"]
    words = [f"--manifest={manifest}", f"--output={tmp_path}/words"]
    assert main(["vocabulary", *words, elsewhere]) == 2
    assert "is a path of this machine" in capsys.readouterr().err
    shared = ["--shared_filesystem", f"--manifest={manifest}", f"--output={tmp_path}/d"]
    assert preprocess(elsewhere, *shared) == 0


RAISED = {
    "a worker's user error": (
        RuntimeError(
            "Traceback (most recent call last):\n  File x\nmm_models.errors.UserError: item 3: it "
            "cannot be read; run again [while running 'Process-ptransform-31']\n"
        ),
        "item 3: it cannot be read; run again",
    ),
    "a full disk": (RuntimeError("OSError: [Errno 28] No space left on device"), "a disk is full"),
    "a dead worker": (RuntimeError("Channel closed prematurely."), "use fewer --workers"),
    "no Dataflow": (
        ImportError("Google Cloud Dataflow runner not available, please install apache_beam[gcp]"),
        "pip install 'mmstack[gcp]'",
    ),
    "no job server": (RuntimeError("StatusCode.UNAVAILABLE, failed to connect"), "--job_endpoint"),
    "no Java": (FileNotFoundError(2, "No such file or directory", "java"), "needs Java"),
    "a defect": (
        RuntimeError("Traceback:\n  File x\nValueError: bad [while running 'Process']\nmore"),
        "the job failed: ValueError: bad; the whole message is in ",
    ),
    "anything": (KeyError("strange"), "the job failed: KeyError: 'strange'"),
}


@pytest.mark.parametrize(("error", "said"), RAISED.values(), ids=RAISED)
def test_what_a_runner_raises_is_a_sentence(store, capsys, monkeypatch, tmp_path, error, said):
    monkeypatch.setattr(job_errors.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(stand_in_runners, "ERROR", error)
    assert preprocess(f"--runner={RUNNERS}.RaisingRunner") == 2
    message = capsys.readouterr().err
    assert message.startswith("mmstack preprocess: ") and message.count("\n") == 1
    assert said in message
    for name in (path.name for path in tmp_path.glob("mmstack-job-*")):
        assert name in message
    assert not written()


# What is read and sent.


def _wide_manifest(store, num_items: int, clip_of: str = "0.mp4") -> int:
    lines = [
        f'{{"id": "{number}", "media": "{clip_of}", "split": "train", "metadata": '
        f'{{"note": "{"x" * 200}"}}}}\n'
        for number in range(num_items)
    ]
    content = "".join(lines).encode()
    store.OBJECTS["memory://bucket/in/manifest.jsonl"] = content
    return len(content)


def test_the_graph_of_a_job_does_not_grow_with_its_manifest(store):
    stand_in_runners.GRAPH_BYTES.clear()
    words = ["--manifest=memory://bucket/in/manifest.jsonl", "--output=memory://bucket/words"]
    for num_items in (1, 2000):
        _wide_manifest(store, num_items, "gone.mp4")
        elsewhere = f"--runner={RUNNERS}.WorkingRunner"
        assert preprocess(elsewhere) == 2  # Not one item gives a record.
        assert main(["vocabulary", *words, "--with_labels", elsewhere]) == 2  # Nor any text.
    small, small_words, large, large_words = stand_in_runners.GRAPH_BYTES
    assert abs(large - small) < 100 and abs(large_words - small_words) < 100
    assert large < 100_000


def test_a_manifest_is_read_a_few_times_whatever_its_length(store):
    size = _wide_manifest(store, 3000, "gone.mp4")
    assert preprocess() == 2
    asked = sum(count for path, count in store.ASKED_BYTES.items() if not path.endswith(".mp4"))
    assert asked < 5 * size
    store.ASKED_BYTES.clear()
    words = ["--manifest=memory://bucket/in/manifest.jsonl", "--output=memory://bucket/words"]
    assert main(["vocabulary", *words, "--workers=1"]) == 2
    assert sum(store.ASKED_BYTES.values()) < 4 * size


def test_staged_records_are_read_in_the_order_they_stand_in(store):
    records = {
        f"{number * 7919 % 1000:04d}": bytes([number % 251]) * 3000 for number in range(1000)
    }
    staging = shards.StagingFile("memory://bucket/staged")
    staged = [staging.append(key, record) for key, record in records.items()]
    staging.close()
    size = sum(record.size_bytes for record in staged)
    shards.write_shard("memory://bucket/out", "s", staged[::-1], "memory://bucket/staged")
    assert sum(store.ASKED_BYTES.values()) < 1.1 * size
    found = [record for _, record in shards.read_records("memory://bucket/out/s")]
    assert found == [records[key] for key in sorted(records)]


def test_an_attempt_at_a_shard_that_fails_leaves_nothing_in_the_data(tmp_path, monkeypatch):
    staging = shards.StagingFile(str(tmp_path / "staged"))
    (tmp_path / "staged").mkdir()
    (tmp_path / "data").mkdir()
    good = [staging.append(f"{number}", b"abc") for number in range(3)]
    staging.close()
    bad = [good[0], good[1]._replace(offset=5), good[2]]
    with pytest.raises(shards.DamagedRecordError):
        shards.write_shard(f"{tmp_path}/data", "s", bad, f"{tmp_path}/staged")
    assert not tree(tmp_path / "data")
    assert len(tree(tmp_path / "staged")) == 1
    # A worker that is killed tidies nothing.
    monkeypatch.setattr(shards.files, "delete_file", lambda path: None)
    with pytest.raises(shards.DamagedRecordError):
        shards.write_shard(f"{tmp_path}/data", "s", bad, f"{tmp_path}/staged")
    assert not tree(tmp_path / "data")


def test_user_errors_pass_unchanged():
    with pytest.raises(UserError, match="^as it is$"), job_errors.job_errors():
        raise UserError("as it is")
