"""Requests to the embedded server against the same signature called in process.

One clip of encoded frames through `encode_video` of a VATT model of the demo's size.
Both sides count everything a client does: tensors made, call, arrays read.
"""

import contextlib
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.digits_records import run_command, write_digits_records
from benchmarks.results import compare

CONFIG = "configs/demo.yaml"
SIGNATURE = "encode_video"
NUM_FRAMES, FRAME_PIXELS = 8, 64
NUM_ROUNDS, CALLS_PER_ROUND = 15, 10
NUM_STARTS = 3
START_TIMEOUT_SECONDS = 180.0
SMALLEST = {"NUM_ROUNDS": 1, "CALLS_PER_ROUND": 1, "NUM_STARTS": 1}


def run() -> list[dict]:
    with tempfile.TemporaryDirectory(prefix="mmstack-serving-") as folder:
        export_dir = _export(pathlib.Path(folder))
        request = _request()
        rows = _latency_rows(export_dir, request)
        rows.append(_first_request_row(export_dir, request))
    return rows


def _export(folder: pathlib.Path) -> str:
    """A model after one step, exported."""
    records = write_digits_records(folder, num_clips=50, side=32, frames=17)
    changes = (
        f"streams.clips.input.datasets.single.path={records}",
        f"streams.clips.input.text.vocabulary={records}/vocabulary.txt",
        "streams.clips.input.batch_size=16",
        *(f"evaluators.{name}=null" for name in ("zero_shot", "zero_shot_audio", "retrieval")),
        "trainer.train_steps=1",
        "trainer.optimizers.main.schedule.warmup_steps=0",
        "trainer.checkpoint.best_metric=''",
    )
    run, export_dir = folder / "run", str(folder / "vatt")
    run_command(
        "train",
        f"--config_file={CONFIG}",
        f"--model_dir={run}",
        *(f"--set={change}" for change in changes),
    )
    run_command("export", f"--model_dir={run}", f"--output={export_dir}")
    return export_dir


def _request() -> dict[str, np.ndarray]:
    from export import media_files
    from export.client.string_arrays import object_array
    from export.signatures.shared import samples

    frames = samples.moving_square(NUM_FRAMES, FRAME_PIXELS, FRAME_PIXELS)
    return {"frames_jpeg": object_array(media_files.jpeg_frames(frames))[None]}


def _latency_rows(export_dir: str, request: dict[str, np.ndarray]) -> list[dict]:
    import tensorflow as tf

    from export.client.protocols import GrpcClient, RestClient

    signature = tf.saved_model.load(f"{export_dir}/1").signatures[SIGNATURE]

    def in_process() -> dict[str, np.ndarray]:
        outputs = signature(**{name: tf.constant(value) for name, value in request.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    with (
        _server(export_dir) as (grpc_address, rest_address),
        GrpcClient(grpc_address, "vatt") as grpc,
        RestClient(rest_address, "vatt") as rest,
    ):
        calls = {
            "in process": in_process,
            "gRPC": lambda: grpc.predict(request, SIGNATURE),
            "REST": lambda: rest.predict(request, SIGNATURE),
        }
        _check_equal([call() for call in calls.values()])
        rounds = [
            {name: _median_ms(call) for name, call in calls.items()} for _ in range(NUM_ROUNDS)
        ]
    return [
        compare(
            f"request with {NUM_FRAMES} JPEG frames by {name} / same call in process",
            [(times[name], times["in process"]) for times in rounds],
            "ms",
            most=aim,
        )
        for name, aim in (("gRPC", 1.3), ("REST", 1.6))
    ]


def _first_request_row(export_dir: str, request: dict[str, np.ndarray]) -> dict:
    from export.client.protocols import GrpcClient

    pairs = []
    for _ in range(NUM_STARTS):
        with _server(export_dir) as (address, _), GrpcClient(address, "vatt") as client:
            client.status()
            first, *others = (
                _time_ms(lambda client=client: client.predict(request, SIGNATURE))
                for _ in range(51)
            )
            pairs.append((first, statistics.median(others)))
    return compare("first request after start / median request (gRPC)", pairs, "ms", most=1.5)


@contextlib.contextmanager
def _server(export_dir: str) -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={export_dir}"]
    command += ["--embedded", "--grpc_port=0", "--rest_port=0", "--poll_seconds=0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _addresses(process, log)
        finally:
            process.terminate()
            process.wait()


def _addresses(process: subprocess.Popen, log) -> tuple[str, str]:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        found = re.search(r"gRPC ([^,\s]+), REST http://([^/\s]+)/", log.read())
        if found:
            return found.group(1), found.group(2)
        time.sleep(0.2)
    log.seek(0)
    raise RuntimeError(f"the server did not start: {log.read()[-2000:]}")


def _check_equal(answers: list[dict[str, np.ndarray]]) -> None:
    for answer in answers[1:]:
        for name, value in answers[0].items():
            np.testing.assert_allclose(answer[name], value, atol=1e-5)


def _median_ms(call: Callable[[], object]) -> float:
    return statistics.median(_time_ms(call) for _ in range(CALLS_PER_ROUND))


def _time_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
