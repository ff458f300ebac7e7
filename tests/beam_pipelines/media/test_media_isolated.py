"""A child that hangs, grows or crashes is a reject, and the next call works."""

import dataclasses
import errno
import hashlib
import os
import pathlib
import time

import numpy as np
import pytest

from beam_pipelines.media import child_messages, decode
from beam_pipelines.media.decode_contract import ClipMedia, DecodeRequest, MediaInfo
from beam_pipelines.media.isolated import DecoderError, IsolatedDecoder
from beam_pipelines.rejects import Reject, RejectCode
from tests.beam_pipelines.media.media_samples import flat, write_movie

FAULTS = "tests.beam_pipelines.media.media_faults"


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "m.mkv"
    write_movie(path, [flat((90, 90, 90))] * 25, np.zeros(16_000, np.float32))
    return str(path)


@pytest.fixture
def decoder():
    with IsolatedDecoder(cpu_seconds=30.0, memory_bytes=600 << 20) as decoder:
        yield decoder


def assert_works(decoder, movie):
    assert isinstance(decoder.run("probe", movie), MediaInfo)


def test_same_result_as_in_process(movie):
    request = DecodeRequest(frame_rate_hz=5, short_side=16, sample_rate_hz=8000)
    with IsolatedDecoder(60.0) as decoder:
        ours = decoder.run("clip_media", movie, request)
        windows = decoder.run("clip_windows", movie, request, [(0.0, 0.4), (0.2, None)])
    here = decode.clip_media(movie, request)
    for field in dataclasses.fields(ClipMedia):
        np.testing.assert_equal(getattr(ours, field.name), getattr(here, field.name))
    assert [len(clip.frames_jpeg) for clip in windows] == [2, 4]


def test_hang_is_killed(movie):
    with IsolatedDecoder(wall_seconds=1.0, memory_bytes=600 << 20) as decoder:
        assert_works(decoder, movie)
        start = time.monotonic()
        reject = decoder.run(f"{FAULTS}:hang", movie)
        assert reject.code == RejectCode.DECODE_TIMEOUT and time.monotonic() - start < 10
        assert_works(decoder, movie)


def test_what_a_file_costs_is_limited_not_what_the_machine_does(movie):
    with IsolatedDecoder(cpu_seconds=0.5, wall_seconds=60.0, memory_bytes=600 << 20) as decoder:
        assert_works(decoder, movie)
        # Waiting, as on a loaded machine, costs nothing, and calls do not add up.
        for _ in range(2):
            assert decoder.run(f"{FAULTS}:wait", movie, 0.7) == movie
        start = time.monotonic()
        reject = decoder.run(f"{FAULTS}:spin", movie)
        assert reject.code == RejectCode.DECODE_TIMEOUT and time.monotonic() - start < 30
        assert "0.5 s of processor time" in reject.detail
        assert_works(decoder, movie)


def test_what_the_disk_says_is_no_verdict_on_the_file(decoder, movie):
    with pytest.raises(OSError, match="Input/output error") as caught:
        decoder.run(f"{FAULTS}:fail_to_read", movie)
    assert caught.value.errno == errno.EIO and caught.value.filename == movie
    assert_works(decoder, movie)


def test_hash_of_the_content(decoder, movie, tmp_path):
    expected = hashlib.sha256(pathlib.Path(movie).read_bytes()).hexdigest()
    assert decoder.run("content_sha256", movie, 1 << 30) == expected
    os.mkfifo(tmp_path / "pipe.mp4")
    os.symlink("/dev/zero", tmp_path / "endless.mp4")
    for name in ("pipe", "endless"):
        reject = decoder.run("content_sha256", str(tmp_path / f"{name}.mp4"), 1 << 30)
        assert reject.code == RejectCode.NOT_MEDIA and "not a regular file" in reject.detail


def test_memory_limit(decoder, movie):
    assert decoder.run(f"{FAULTS}:allocate", movie, 50 << 20) == 50 << 20
    assert decoder.run(f"{FAULTS}:allocate", movie, 2 << 30).code == RejectCode.DECODE_MEMORY
    assert_works(decoder, movie)


def test_result_too_large_to_send(decoder, movie):
    result = decoder.run(f"{FAULTS}:huge_result", movie, 350 << 20)
    assert isinstance(result, Reject) and result.code == RejectCode.DECODE_MEMORY
    assert_works(decoder, movie)


@pytest.mark.parametrize(("fault", "sign"), [("crash", "SIGSEGV"), ("leave", "exit status 7")])
def test_crash(decoder, movie, fault, sign):
    reject = decoder.run(f"{FAULTS}:{fault}", movie)
    assert reject.code == RejectCode.DECODER_CRASHED and sign in reject.detail
    if fault == "crash":
        assert "about to crash" in reject.detail
    assert_works(decoder, movie)


def test_windows_of_a_dead_child_are_all_rejected(movie):
    with IsolatedDecoder(wall_seconds=1e-4, memory_bytes=600 << 20) as decoder:
        clips = decoder.run("clip_windows", movie, DecodeRequest(), [(0.0, 0.5), (0.5, 1.0)])
    assert [clip.code for clip in clips] == [RejectCode.DECODE_TIMEOUT] * 2


def test_bug_raises(decoder, movie):
    with pytest.raises(DecoderError, match="a bug of ours"):
        decoder.run(f"{FAULTS}:fail", movie)
    assert_works(decoder, movie)


def test_noise_does_not_mix_with_replies(decoder, movie):
    assert decoder.run(f"{FAULTS}:print_noise", movie) == movie


def test_child_is_light(decoder, movie):
    assert decoder.run(f"{FAULTS}:imported", movie) == []


def test_child_that_cannot_start_says_so(movie):
    with (
        IsolatedDecoder(memory_bytes=1 << 20) as decoder,
        pytest.raises(DecoderError, match="1048"),
    ):
        decoder.run("probe", movie)


def test_messages_do_not_differ_between_runs(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\0" * 999)
    details = []
    for _ in range(2):
        with IsolatedDecoder(60.0) as decoder:
            details.append(decoder.run("clip_media", str(path), DecodeRequest()).detail)
    assert details[0] == details[1] and "moov" in details[0] and "0x" not in details[0]


def test_wire_refuses_what_is_not_a_message():
    for text in (b"nonsense", b'{"bytes": [0, 9]}', b'{"type": "os"}', b'{"array": [0, 0]}'):
        with pytest.raises(ValueError):
            child_messages.unpack(text, b"")
