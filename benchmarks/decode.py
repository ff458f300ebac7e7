"""Decoding and resizing against bare decoding of the same file by PyAV.

Rates are source frames a second; both sides use the same number of decoder threads and alternate,
and medians are compared. `10 Hz` keeps frames at the pipeline's usual rate, `every frame` keeps all
of them.
"""

import functools
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import av
import numpy as np
from PIL import Image, ImageFilter

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodedMedia, DecodeRequest
from benchmarks.results import result

AIM = 0.85
REPEATS = 7
SHORT_SIDE = 224
REAL_CLIP = pathlib.Path(__file__).parents[2] / "shared" / "data" / "av_clips" / "friday.mp4"
_CLIP_SECONDS, _CLIP_RATE_HZ, _HEIGHT, _WIDTH = 8, 30, 360, 640
SMALLEST = {"REPEATS": 1, "_CLIP_SECONDS": 1}


def run() -> list[dict]:
    """Every case: name, ours, alternative, ratio, aim, met, unit."""
    threads = min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        generated = pathlib.Path(folder) / "generated.mp4"
        write_clip(generated)
        clips = [("640x360 H.264", generated)]
        if REAL_CLIP.exists():
            clips.append((REAL_CLIP.name, REAL_CLIP))
        return [
            _case(f"{name}, {words}", str(path), rate, threads)
            for name, path in clips
            for words, rate in (("10 Hz", 10.0), ("every frame", None))
        ]


def write_clip(path: pathlib.Path) -> None:
    """A camera that drifts over a textured picture while a block crosses it."""
    noise = np.random.default_rng(0).integers(0, 255, (110, 150, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((1200, 880), Image.Resampling.BILINEAR)
    scene = np.array(picture.filter(ImageFilter.GaussianBlur(2)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_CLIP_RATE_HZ, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(_CLIP_SECONDS * _CLIP_RATE_HZ):
            y, x = int(200 + 180 * np.sin(number / 25)), int(250 + 240 * np.cos(number / 31))
            view = scene[y : y + _HEIGHT, x : x + _WIDTH].copy()
            left = number * 5 % (_WIDTH - 80)
            view[140:220, left : left + 80] = (number % 255, 200, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())


def bare_decoding(path: str, threads: int) -> int:
    """Decodes every frame with PyAV and looks at none; returns their number."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = threads
        stream.thread_type = "FRAME" if threads > 1 else "SLICE"
        return sum(1 for _ in container.decode(stream))


def _ours(path: str, request: DecodeRequest) -> None:
    decoded = decode.decode(path, request)
    if not isinstance(decoded, DecodedMedia):
        raise RuntimeError(f"{path}: {decoded.detail}")


def _case(name: str, path: str, frame_rate_hz: float | None, threads: int) -> dict:
    request = DecodeRequest(
        frame_rate_hz=frame_rate_hz,
        short_side=SHORT_SIDE,
        want_audio=False,
        decoder_threads=threads,
    )
    num_frames = bare_decoding(path, threads)
    ours, bare = alternate(
        functools.partial(_ours, path, request), functools.partial(bare_decoding, path, threads)
    )
    rates = (num_frames / ours, num_frames / bare)
    return result(
        f"decode+resize ÷ PyAV decode: {name}", *rates, bare / ours, "frames/s", least=AIM
    )


def alternate(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of two functions that are called in turn, after one call each to warm up."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for function, column in zip((first, second), times, strict=True):
            start = time.perf_counter()
            function()
            column.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])
