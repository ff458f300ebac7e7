"""The commands' own checks: one sentence, exit code 2."""

import re
import socket

import pytest

import mmstack


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
    assert "raise it" in _refused(capsys, "serve", good, "--max_body_mib=200")
    assert "--host=nowhere.invalid is no address" in _refused(
        capsys, "serve", good, "--host=nowhere.invalid", "--embedded"
    )
    assert "must differ" in _refused(
        capsys, "serve", good, "--grpc_port=51999", "--rest_port=51999"
    )
    assert "70000 is no port" in _refused(capsys, "serve", good, "--rest_port=70000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flag in ("grpc_port", "rest_port"):
            message = _refused(capsys, "serve", good, f"--{flag}={port}", "--embedded")
            assert f"--{flag}={port}" in message and "another port" in message


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
    assert "brackets" in _refused(capsys, "query", f"--video={clip}", "--address=::1:8501")
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


@pytest.mark.parametrize("name", ["export", "serve", "query", "predict", "doctor"])
def test_help(name, capsys):
    with pytest.raises(SystemExit) as error:
        mmstack.main([name, "--help"])
    assert error.value.code == 0
    assert name in capsys.readouterr().out
