"""Runs as processes of their own: one after the other, or several as one."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from tests.trainers.loop.support import YAML

ROOT = pathlib.Path(__file__).parents[3]


def environment(**extra: str) -> dict[str, str]:
    """Variables of a quiet process without accelerators."""
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        **extra,
    }


def cluster(count: int) -> list[str]:
    """TF_CONFIG of each of `count` workers on this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


class Zygote:
    """Runs commands in children; see tests/trainers/loop/zygote.py."""

    def __init__(self, folder: pathlib.Path):
        self._config = folder / "toy.yaml"
        self._config.write_text(YAML)
        self._log = folder / "log.txt"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trainers.loop.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def run(self, model_dir, *overrides, **kill) -> dict:
        """A training of the toy: its `code`, and the `seconds` it took."""
        argv = [f"--config_file={self._config}", f"--model_dir={model_dir}", "--mode=train"]
        argv += [f"--set={override}" for override in overrides]
        answer = self.ask(argv=argv, **({"signal": 9} | kill))
        return {"code": answer["codes"][0], "seconds": answer["seconds"]}

    def ask(self, **request) -> dict:
        """Sends one request and waits for its answer; the log begins anew."""
        self._log.write_text("")
        self._process.stdin.write(json.dumps({"log": str(self._log), **request}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def log(self) -> str:
        """What the last request's children printed."""
        return self._log.read_text()

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(timeout=60)
