"""What fails around a program is told by its cause and a remedy; faults of the program are not."""

import errno
import os
import pathlib
import socket
import urllib.error

import numpy as np
import pytest
import tensorflow as tf

from mm_models.failures import explain

FULL = pathlib.Path("/dev/full")


def _write(path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write("x")


def _save(path: str) -> None:
    tf.train.Checkpoint(x=tf.Variable(1.0)).write(path)


def _read_in_a_data_set(path: str) -> None:
    def read(_):
        return np.fromfile(path, np.uint8)[:1]

    data = tf.data.Dataset.range(1).map(lambda n: tf.numpy_function(read, [n], tf.uint8))
    next(iter(data))


# What is done, on a path in a folder that has the regular file `file`; a word of its explanation.
FAILURES = {
    "full disk": (lambda _: _write("/dev/full"), "No space left on device; make room"),
    "full disk, Python": (
        lambda _: FULL.write_text("x" * 10**6),
        "make room there",
    ),
    "event writer in a file": (
        lambda folder: tf.summary.create_file_writer(f"{folder}/file/train"),
        "file is not a directory; a part of the path is a file",
    ),
    "checkpoint in a file": (lambda folder: _save(f"{folder}/file/ckpt"), "part of the path is a"),
    "no such file": (
        lambda folder: pathlib.Path(f"{folder}/none").read_text(),
        "none: No such file or directory; che",
    ),
    "no such file, TensorFlow": (
        lambda folder: tf.io.gfile.GFile(f"{folder}/none").read(),
        "check that the path is right",
    ),
    "no such file, in a data set": (
        lambda folder: _read_in_a_data_set(f"{folder}/none"),
        "No such file or directory",
    ),
    "no such scheme": (lambda _: _write("nofs://bucket/x"), "use a local path or gs://"),
    "nobody listens": (lambda _: socket.create_connection(("127.0.0.1", 1)), "check the address"),
}


@pytest.mark.parametrize(("fail", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_surroundings_is_told_in_a_sentence(tmp_path, fail, expected):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception) as raised:
        fail(str(tmp_path))
        raise AssertionError("nothing failed")
    told = explain(raised.value)
    assert expected in told, told
    assert "\n" not in told and "{{" not in told and "[Op:" not in told


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_has_a_remedy(number):
    told = explain(OSError(number, os.strerror(number), "data/clip.mp4"))
    assert told.startswith(f"data/clip.mp4: {os.strerror(number)}; ")
    assert len(told.split("; ", 1)[1]) > 10


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            tf.errors.UnavailableError(
                None,
                None,
                "Collective ops is aborted by: Socket closed\nAdditional GRPC error \nx",
            ),
            "another worker of TF_CONFIG ended",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), "batch_size"),
        (tf.errors.PermissionDeniedError(None, None, "denied"), "give this user rights"),
        (
            tf.errors.AbortedError(None, None, "All 10 retry attempts failed. libcurl code 6"),
            "check the address, the network and the credentials",
        ),
        (urllib.error.URLError("timed out"), "check the address"),
        (TimeoutError("timed out"), "timed out; check the address"),
        (MemoryError(), "out of memory"),
    ],
)
def test_errors_that_cannot_be_had_here(error, expected):
    assert expected in explain(error)


def test_faults_of_the_program_keep_their_traceback():
    graph = tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [2,3] vs. [3,2]")
    unknown = tf.errors.NotFoundError(None, None, "No registered 'Foo' OpKernel")
    for error in (ValueError("x"), KeyError("x"), graph, unknown, AssertionError()):
        assert explain(error) is None
