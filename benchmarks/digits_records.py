"""Records of spoken digits for the benchmarks that read some, made by the ordinary commands."""

import pathlib
import subprocess
import sys

SAMPLE_RATE_HZ = 16_000


def write_digits_records(folder: pathlib.Path, *, num_clips: int, side: int, frames: int) -> str:
    """Writes `records` with training clips at 8 frames a second, and `records/vocabulary.txt`.

    Args:
        folder: existing folder.
        num_clips: how many.
        side: height and width of the frames in pixels.
        frames: length of a clip.
    """
    raw, records = folder / "raw", folder / "records"
    sizes = [f"--num_train={num_clips}", "--num_val=0", "--num_test=0"]
    sizes += [f"--frame_size={side}", f"--num_frames={frames}"]
    run_command("corpus", "digits", "--preset=single", f"--output={raw}", *sizes)
    manifest = f"--manifest={raw / 'manifest.jsonl'}"
    form = ["--frame_rate_hz=8", f"--short_side={side}", f"--sample_rate_hz={SAMPLE_RATE_HZ}"]
    form += ["--audio_encoding=pcm16"]
    run_command("preprocess", manifest, f"--output={records}", "--shards_per_split=2", *form)
    run_command("vocabulary", manifest, "--kind=word", f"--output={records / 'vocabulary.txt'}")
    return str(records)


def run_command(*words: str) -> None:
    """Runs one command of mmstack; what it prints as its result is dropped."""
    subprocess.run([sys.executable, "-m", "mmstack", *words], check=True, stdout=subprocess.DEVNULL)
