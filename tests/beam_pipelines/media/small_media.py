"""Small real media files and manifests for tests."""

import json
import pathlib
from fractions import Fraction

import av
import numpy as np
from PIL import Image

SAMPLE_RATE_HZ = 16000
TINY = [
    *("--frame_rate_hz=5", "--short_side=24", "--sample_rate_hz=8000"),
    *("--audio_encoding=pcm16", "--workers=1", "--max_rejected_share=1"),
]


def write_clip(path: pathlib.Path, *, seconds: float = 1.0, shade: int = 0) -> None:
    """An MP4 of 48 x 32 pixels at 10 Hz whose brightness rises, with a 440 Hz tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("h264", rate=10, options={"crf": "20"})
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for number in range(round(10 * seconds)):
            picture = np.full((32, 48, 3), (shade + 20 * number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        times = np.arange(round(SAMPLE_RATE_HZ * seconds)) / SAMPLE_RATE_HZ
        tone = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        for start in range(0, len(tone), 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            block.sample_rate, block.pts = SAMPLE_RATE_HZ, start
            block.time_base = Fraction(1, SAMPLE_RATE_HZ)
            container.mux(audio.encode(block))
        container.mux(audio.encode())


def write_image(path: pathlib.Path) -> None:
    """A PNG of 60 x 40 pixels."""
    Image.fromarray(np.full((40, 60, 3), 128, np.uint8)).save(path)


def write_lines(path: pathlib.Path, items: list) -> pathlib.Path:
    """A manifest of these items, or of these lines where they are strings."""
    lines = (item if isinstance(item, str) else json.dumps(item) for item in items)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def tree(folder: pathlib.Path, pattern: str = "*") -> dict[str, bytes]:
    """Content of the files of a folder by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }
