"""`mmstack serve`: TensorFlow Serving where it is installed, and whole processes of our server."""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.commands import serve
from export.signatures.fields import Field, SignatureDoc
from export.version import layout
from export.version.model_card import model_card
from export.version.model_info import ModelInfo
from mm_models.errors import UserError
from tests.export.test_client_media import INFO
from tests.export.tiny_model import write_tiny_model

ROOT = pathlib.Path(__file__).parents[2]
STAND_IN = '#!/bin/sh\nfor word in "$@"; do echo "$word"; done > "$0.arguments"\n'


@pytest.fixture(name="run_serve")
def _run_serve(tmp_path, tiny_path):
    """Runs the command with a stand-in on the PATH; the finished process, and what it was given."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text(STAND_IN)
    binary.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }

    def run(*words, export_dir=tiny_path):
        recorded = pathlib.Path(f"{binary}.arguments")
        recorded.unlink(missing_ok=True)
        command = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={export_dir}", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        return done, dict(
            line.removeprefix("--").split("=", 1)
            for line in (recorded.read_text().splitlines() if recorded.exists() else ())
        )

    return run


def test_tensorflow_serving_is_told_every_flag(run_serve, tiny_path):
    words = ("--num_latest=3", "--poll_seconds=0", "--timeout_seconds=7.5", "--name=digits")
    done, given = run_serve("--host=0.0.0.0", "--grpc_port=51001", "--rest_port=51002", *words)
    assert done.returncode == 0, done.stderr
    models, monitoring = given.pop("model_config_file"), given.pop("monitoring_config_file")
    assert given == {
        "port": "51001",
        "rest_api_port": "51002",
        "file_system_poll_wait_seconds": "0",
        "rest_api_timeout_in_ms": "7500",
    }
    config = text_format.Parse(
        pathlib.Path(models).read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("digits", str(tiny_path))
    assert model.model_version_policy.latest.num_versions == 3
    assert pathlib.Path(monitoring).read_text() == (
        'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }\n'
    )


EMBEDDED = {flag: default for flag, (default, _) in serve.EMBEDDED_FLAGS.items()}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "listens on every address"),
        (("--host=10.0.0.1",), "not on 10.0.0.1 alone"),
        (("--host=0.0.0.0", "--grpc_port=0"), "--grpc_port=0 takes any free port"),
        (("--host=0.0.0.0", "--rest_port=0"), "--rest_port=0 takes any free port"),
        (("--host=0.0.0.0", "--poll_seconds=0.5"), "whole seconds"),
        *(
            (("--host=0.0.0.0", f"--{flag}={default}"), f"nothing like --{flag}")
            for flag, default in EMBEDDED.items()
        ),
    ],
)
def test_what_tensorflow_serving_cannot_be_told_is_refused(
    tiny_path, tmp_path, monkeypatch, words, told
):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text(STAND_IN)
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was started"))
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    with pytest.raises(UserError, match=told) as error:
        serve.run(parser.parse_args([f"--export_dir={tiny_path}", *words]))
    assert "--embedded" in str(error.value)


def _info(*axes, **changes):
    inputs = {"x": Field("tokens", "int32", ("batch", *axes), "given")}
    doc = SignatureDoc("One.", inputs, {"y": Field("tokens", "int32", ("batch", "n"), "told")})
    facts = {**vars(INFO), "signatures": {"serving_default": doc}, **changes}
    return ModelInfo(**facts)


class _Signatures:
    default_name, caution = "one", ""

    def docs(self):
        return {}


@pytest.mark.parametrize(
    ("infos", "is_merged", "needs_xla"),
    [
        ([_info("8")], True, False),
        ([_info()], True, False),
        ([_info("frames")], False, False),
        ([_info("8"), _info("8", "height")], False, False),
        ([_info("8", jit_compile=True)], True, True),
    ],
)
def test_merging_is_told_where_inner_axes_are_fixed(
    tmp_path, monkeypatch, infos, is_merged, needs_xla
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for number, info in enumerate(infos, start=1):
        extra = tmp_path / "model" / str(number) / layout.ASSETS_EXTRA
        extra.mkdir(parents=True)
        (extra / layout.MODEL_INFO_FILE).write_text(info.to_json())
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args = parser.parse_args([f"--export_dir={tmp_path}/model", "--num_latest=0"])
    from export.server.tensorflow_serving import serving_command

    command = serving_command("server", args, "model")
    assert set(layout.SERVING_BATCHING_FLAGS).issubset(command) == is_merged
    assert ("--xla_cpu_compilation_enabled=true" in command) == needs_xla
    (models,) = (word.split("=")[1] for word in command if "model_config_file" in word)
    assert "all { }" in pathlib.Path(models).read_text()
    card = model_card("model", infos[-1], _Signatures())
    assert ("Serving: `--enable_batching --enable_per_model" in card) == is_merged
    assert ("must be started without `--enable_batching`" in card) != is_merged


def _start(export_dir, *words):
    command = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={export_dir}", "--embedded"]
    return subprocess.Popen(
        [*command, "--grpc_port=0", "--rest_port=0", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _seconds_to_end(process, limit_seconds=10.0):
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(limit_seconds) == 0
    finally:
        process.kill()
    return time.monotonic() - started


def test_a_server_process_answers_and_ends_in_order(tiny_path):
    """The ports printed, both protocols; with SIGTERM, new requests are refused while one is in
    flight, one that takes too long is given up, and the exit code is 0."""
    process = _start(tiny_path, "--grace_seconds=3")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        found = re.search(r"gRPC (\S+), REST http://([^/]+)/", process.stdout.readline())
        x = {"x": np.array([[1, 2, 3]], np.float32)}
        endless = {"steps": np.array([10**9], np.int32)}
        with GrpcClient(found.group(1), "tiny") as grpc, RestClient(found.group(2), "tiny") as rest:
            assert grpc.predict(x)["y"].tolist() == rest.predict(x)["y"].tolist() == [322.0]
            failures = []
            stuck = threading.Thread(target=_failure_of, args=(found.group(1), endless, failures))
            stuck.start()
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert "shutting down" in process.stdout.readline()
            for client in (rest, RestClient(found.group(2), "tiny")):
                with pytest.raises(RequestFailed) as error:
                    client.predict(x)
                assert error.value.status == 503 and "shutting down" in str(error.value)
            with pytest.raises(UserError):
                grpc.predict(x)
            assert _seconds_to_end(process) < 5
            stuck.join()
        assert len(failures) == 1
        assert "given up" in process.stdout.read()
    finally:
        process.kill()


def _failure_of(address, inputs, failures):
    with GrpcClient(address, "tiny") as client:
        try:
            client.predict(inputs, "spin")
        except UserError as error:
            failures.append(str(error))


def test_a_signal_is_heard_while_a_model_is_loaded(tmp_path):
    write_tiny_model(tmp_path, 1, offset=1.0)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "spin"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto([10**9], tf.int32))
    log = prediction_log_pb2.PredictLog(request=request)
    extra = tmp_path / "1" / layout.ASSETS_EXTRA
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / layout.WARMUP_FILE)) as writer:
        writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    process = _start(tmp_path)
    for line in process.stderr:
        if "is being loaded" in line:
            break
    time.sleep(1.0)
    assert _seconds_to_end(process) < 3
    assert "stopped before a model was loaded" in process.stdout.read()
