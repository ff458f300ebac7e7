"""The commands' own checks: one sentence, exit code 2; and a whole server process."""

import argparse
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import mmstack
from export.client.protocols import GrpcClient, RestClient
from export.commands import serve


def _refused(capsys, *words):
    assert mmstack.main(list(words)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "Traceback" not in message
    return message


def test_serve_checks_its_flags(tmp_path, tiny_path, capsys):
    empty = _refused(capsys, "serve", f"--export_dir={tmp_path}")
    assert "no numbered version" in empty
    inside = _refused(capsys, "serve", f"--export_dir={tiny_path}/1")
    assert f"give {tiny_path}" in inside
    good = f"--export_dir={tiny_path}"
    assert "--max_rows is 0" in _refused(capsys, "serve", good, "--max_rows=0")
    assert "must differ" in _refused(
        capsys, "serve", good, "--grpc_port=51999", "--rest_port=51999"
    )
    assert "70000 is no port" in _refused(capsys, "serve", good, "--rest_port=70000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flag in ("grpc_port", "rest_port"):
            message = _refused(capsys, "serve", good, f"--{flag}={port}", "--embedded")
            assert f"--{flag}={port}" in message and "another port" in message


def test_serve_prefers_tensorflow_serving_with_the_same_model(tiny_path):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args = parser.parse_args([f"--export_dir={tiny_path}", "--name=digits", "--rest_port=9"])
    command = serve.serving_command("/usr/bin/tensorflow_model_server", args)
    assert f"--model_base_path={tiny_path}" in command and "--model_name=digits" in command
    assert "--rest_api_port=9" in command and "--port=8500" in command
    assert "--enable_per_model_batching_parameters=true" in command
    compiles = serve.serving_command("/usr/bin/tensorflow_model_server", args, needs_xla=True)
    assert compiles == [*command, "--xla_cpu_compilation_enabled=true"]


def test_query_and_predict_check_their_flags(tmp_path, capsys):
    clip = tmp_path / "clip.mp4"
    message = _refused(capsys, "query", f"--video={clip}", "--name=m")
    assert "clip.mp4 does not exist" in message
    clip.touch()
    assert "is empty" in _refused(capsys, "query", f"--video={clip}", "--name=m")
    clip.write_bytes(b"x" * 100)
    assert "host:port" in _refused(capsys, "query", f"--video={clip}", "--address=nowhere")
    assert "--name" in _refused(capsys, "query", f"--video={clip}")
    assert "give --image or --video" in _refused(capsys, "query", "--name=m")
    both = ["query", f"--video={clip}", f"--image={clip}", "--name=m"]
    assert "one of --image and --video" in _refused(capsys, *both)
    twice = ["query", f"--image={clip}", "--name=m", "--prompt=a", "--prompt=b"]
    assert "give one --prompt" in _refused(capsys, *twice)
    alone = ["query", "--name=m", "--prompt=a"]
    assert "needs --export_dir" in _refused(capsys, *alone)
    missing = _refused(capsys, "query", f"--video={clip}", f"--export_dir={tmp_path}/none")
    assert "no folder" in missing
    nobody = _refused(capsys, "query", f"--video={clip}", "--name=m", "--address=127.0.0.1:1")
    assert "nothing answers" in nobody
    flags = [f"--video={clip}", f"--model_dir={tmp_path}"]
    assert re.search("no (config.yaml|checkpoint)", _refused(capsys, "predict", *flags))
    assert "above 0" in _refused(capsys, "predict", *flags, "--frame_rate_hz=-1")


def test_export_checks_its_flags(tmp_path, capsys):
    flags = [f"--model_dir={tmp_path}", f"--output={tmp_path}/out"]
    assert re.search("no (config.yaml|checkpoint)", _refused(capsys, "export", *flags))
    assert "--max_batch_size is 0" in _refused(capsys, "export", *flags, "--max_batch_size=0")
    assert "--batch_size is -1" in _refused(capsys, "export", *flags, "--batch_size=-1")
    assert "names none of" in _refused(capsys, "export", *flags, "--decoding=beams=2")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-1.index").touch()
    assert "--version=0" in _refused(capsys, "export", *flags, "--version=0")
    (tmp_path / "out" / "3").mkdir(parents=True)
    assert "already holds version 3" in _refused(capsys, "export", *flags, "--version=3")
    (tmp_path / "file").touch()
    blocked = [f"--model_dir={tmp_path}", f"--output={tmp_path}/file"]
    assert "cannot be written" in _refused(capsys, "export", *blocked)


def test_a_server_process_answers_and_ends_in_order(tiny_path):
    """`mmstack serve`: the ports printed, both protocols, SIGTERM, exit code 0."""
    command = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={tiny_path}", "--embedded"]
    process = subprocess.Popen(
        [*command, "--grpc_port=0", "--rest_port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        found = re.search(r"gRPC (\S+), REST http://([^/]+)/", process.stdout.readline())
        x = {"x": np.array([[1, 2, 3]], np.float32)}
        with GrpcClient(found.group(1), "tiny") as grpc, RestClient(found.group(2), "tiny") as rest:
            assert grpc.predict(x)["y"].tolist() == rest.predict(x)["y"].tolist() == [322.0]
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.returncode == 0
        assert "shutting down" in process.stdout.read()
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()


@pytest.mark.parametrize("name", ["export", "serve", "query", "predict", "doctor"])
def test_help(name, capsys):
    with pytest.raises(SystemExit) as error:
        mmstack.main([name, "--help"])
    assert error.value.code == 0
    assert name in capsys.readouterr().out
