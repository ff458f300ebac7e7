"""The demo's last stage: a server of its own process, and a query as a client would make it."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from export.demo.stages import DemoPaths
from mm_models.errors import UserError

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
START_TIMEOUT_SECONDS = 120.0


def serve_and_query(paths: DemoPaths) -> dict:
    """Serves the exported model and asks it which digit the new clip shows.

    Returns:
        `answer` and `truth` (digit names), `probability`, `seconds` of the query, `clip`,
        `address`.

    Raises:
        UserError: the server or the query failed; its message stands above.
    """
    clip, truth = _new_clip(paths)
    with _server(paths) as address:
        start = time.monotonic()
        reply = _query(paths, clip, address)
        seconds = time.monotonic() - start
    probabilities = reply["outputs"]["similarity_video.probability"]
    best = max(range(len(DIGIT_NAMES)), key=probabilities.__getitem__)
    return {
        "answer": DIGIT_NAMES[best],
        "probability": probabilities[best],
        "truth": truth,
        "seconds": seconds,
        "clip": str(clip),
        "address": address,
    }


def _new_clip(paths: DemoPaths) -> tuple[pathlib.Path, str]:
    manifest = paths.new_clip / "manifest.jsonl"
    item = json.loads(manifest.read_text(encoding="utf-8").splitlines()[0])
    return paths.new_clip / item["media"], item["labels"][0]["text"]


@contextlib.contextmanager
def _server(paths: DemoPaths) -> Iterator[str]:
    command = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={paths.exported}"]
    log = paths.root / "server.log"
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [*command, "--embedded", "--grpc_port=0", "--rest_port=0"],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _wait_for_address(process, log)
        finally:
            process.terminate()
            process.wait()


def _wait_for_address(process: subprocess.Popen, log: pathlib.Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"REST http://([^/\s]+)/", log.read_text(encoding="utf-8"))
        if found:
            return found.group(1)
        time.sleep(0.2)
    raise UserError(f"the server did not start; {log} says why")


def _query(paths: DemoPaths, clip: pathlib.Path, address: str) -> dict:
    command = [sys.executable, "-m", "mmstack", "query", f"--video={clip}", "--json"]
    command += [f"--address={address}", f"--export_dir={paths.exported}"]
    command += [f"--text={name}" for name in DIGIT_NAMES]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise UserError(f"the query of {clip} failed; its message stands above")
    return json.loads(result.stdout)
