"""Beam preprocessing against a process pool that calls the same functions, and its peak memory.

Both sides use one worker process per core, start them inside the measured time, write the same
shards, and read a manifest that names 24 small clips again and again. Memory is that of the whole
process tree, shared pages counted once.
"""

import concurrent.futures
import fractions
import functools
import json
import multiprocessing
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import av
import numpy as np
import psutil

from benchmarks.results import result

ROUNDS = 3
NUM_ITEMS = 1600
NUM_FILES, NUM_FRAMES, SIDE = 24, 17, 64
FEW_ITEMS, MANY_ITEMS = 100, 1000
WALL_AIM, MEMORY_AIM = 1.15, 1.1
_FLAGS = ["--frame_rate_hz=8", "--short_side=32", "--sample_rate_hz=16000"]
_FLAGS += ["--audio_encoding=pcm16"]
_SAMPLE_EVERY_SECONDS = 0.05
SMALLEST = {"ROUNDS": 1, "NUM_ITEMS": 64, "FEW_ITEMS": 8, "MANY_ITEMS": 16}


def run() -> list[dict]:
    """Runs both comparisons."""
    with tempfile.TemporaryDirectory(prefix="mmstack-benchmark-") as name:
        folder = pathlib.Path(name)
        _write_media(folder)
        return [_wall(folder), _memory(folder)]


def _wall(folder: pathlib.Path) -> dict:
    manifest = _write_manifest(folder, NUM_ITEMS)
    beam_seconds, pool_seconds = [], []
    for number in range(ROUNDS):
        beam_seconds.append(_timed(_run_beam, manifest, folder / f"beam-{number}"))
        pool_seconds.append(_timed(_run_pool, manifest, folder / f"pool-{number}"))
    ours, alternative = statistics.median(beam_seconds), statistics.median(pool_seconds)
    name = f"preprocess {NUM_ITEMS} clips: Beam / process pool"
    return result(name, ours, alternative, ours / alternative, "s", most=WALL_AIM)


def _memory(folder: pathlib.Path) -> dict:
    peaks = []
    for num_items in (MANY_ITEMS, FEW_ITEMS):
        manifest = _write_manifest(folder, num_items)
        peaks.append(_peak_mib(_beam_command(manifest, folder / f"memory-{num_items}")))
    name = f"peak memory of preprocessing: {MANY_ITEMS} / {FEW_ITEMS} clips"
    return result(name, *peaks, peaks[0] / peaks[1], "MiB", most=MEMORY_AIM)


def _timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _beam_command(manifest: pathlib.Path, output: pathlib.Path) -> list[str]:
    paths = [f"--manifest={manifest}", f"--output={output}"]
    return [sys.executable, "-m", "mmstack", "preprocess", *paths, *_FLAGS]


def _run_beam(manifest: pathlib.Path, output: pathlib.Path) -> None:
    subprocess.run(_beam_command(manifest, output), check=True, capture_output=True)


def _run_pool(manifest: pathlib.Path, output: pathlib.Path) -> None:
    """The same in a fresh interpreter, as a script without Beam's engine would do it."""
    code = "from benchmarks.preprocess import pool_job; import sys; pool_job(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, str(manifest), str(output)], check=True, capture_output=True
    )


def pool_job(manifest_path: str, output: str) -> None:
    """Preprocesses a manifest with `concurrent.futures`, one process per core."""
    from beam_pipelines.items import manifest
    from beam_pipelines.pipelines.runner import core_count
    from beam_pipelines.record import shards

    pathlib.Path(output).mkdir()
    summary = manifest.scan(manifest_path, measure_media=True)
    lines = list(zip(summary.offsets.tolist(), summary.sizes_bytes.tolist(), strict=True))
    groups = [lines[start : start + 16] for start in range(0, len(lines), 16)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(core_count(), mp_context=context) as pool:
        work = functools.partial(_pool_work, manifest_path, output)
        staged = [record for group in pool.map(work, groups) for record in group]
    half = len(staged) // 2
    for number, part in enumerate((staged[:half], staged[half:])):
        shards.write_shard(output, f"train-{number}.tfrecord", part, output)


def _pool_work(manifest_path: str, output: str, lines: list[tuple[int, int]]) -> list:
    from beam_pipelines.items import manifest
    from beam_pipelines.record.shards import StagingFile

    staging = StagingFile(output)
    staged = []
    with open(manifest_path, "rb") as file:
        for offset, size_bytes in lines:
            file.seek(offset)
            item = manifest.parse_line(file.read(size_bytes))
            outcome = _processor(manifest_path).process(item)
            staged += [staging.append(clip.key, clip.record) for clip in outcome.records]
    staging.close()
    return staged


@functools.cache
def _processor(manifest_path: str):
    """One processor a process, as each worker of the pipeline has one."""
    from beam_pipelines.pipelines.preprocess_item import ItemProcessor, PreprocessConfig

    config = PreprocessConfig(
        frame_rate_hz=8.0, short_side=32, sample_rate_hz=16000, audio_encoding="pcm16"
    )
    return ItemProcessor(config, manifest_path)


def _peak_mib(command: list[str]) -> float:
    """Largest proportional set size of a command and all its descendants."""
    peak_bytes = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None:
            peak_bytes = max(peak_bytes, _tree_bytes(psutil.Process(job.pid)))
            time.sleep(_SAMPLE_EVERY_SECONDS)
    if job.returncode:
        raise RuntimeError(f"{command} failed with exit code {job.returncode}")
    return peak_bytes / 2**20


def _tree_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _write_manifest(folder: pathlib.Path, num_items: int) -> pathlib.Path:
    path = folder / f"manifest-{num_items}.jsonl"
    lines = (
        {
            "id": f"{number:06d}",
            "media": f"{number % NUM_FILES}.mp4",
            "split": "train",
            "captions": [{"text": f"clip number {number}"}],
        }
        for number in range(num_items)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def _write_media(folder: pathlib.Path) -> None:
    """Clips with a moving bright square and noise in the sound."""
    rng = np.random.default_rng(0)
    for number in range(NUM_FILES):
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            _write_clip(container, rng)


def _write_clip(container, rng: np.random.Generator) -> None:
    video = container.add_stream("h264", rate=8)
    video.width = video.height = SIDE
    video.pix_fmt = "yuv420p"
    audio = container.add_stream("aac", rate=16000, layout="mono")
    top, left = rng.integers(0, SIDE - 32, 2)
    for number in range(NUM_FRAMES):
        picture = np.full((SIDE, SIDE, 3), 30, np.uint8)
        picture[top : top + 16, left + number : left + number + 16] = (250, 160, 20)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, fractions.Fraction(1, 8)
        container.mux(video.encode(frame))
    container.mux(video.encode())
    sound = rng.normal(0, 0.1, (1, 2000 * NUM_FRAMES)).astype(np.float32)
    for start in range(0, sound.shape[1], 1024):
        block = np.ascontiguousarray(sound[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, start
        frame.time_base = fractions.Fraction(1, 16000)
        container.mux(audio.encode(frame))
    container.mux(audio.encode())
