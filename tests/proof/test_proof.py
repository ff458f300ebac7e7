"""A system of another package goes the whole way by the ordinary commands.

`mmstack new system` writes its skeleton, `beacon/` is what its author fills in: a part of an input,
an evaluator, a signature whose answer is boxes and one whose answer is a sound. No file of this
repository knows of it.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import wave

import av
import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
FILLED = pathlib.Path(__file__).parent / "beacon"
CONFIG = "beacon/configs/digits_debug.yaml"
RUN, EXPORT = "--model_dir=runs/beacon", "exported/beacon"
# One process for all that needs TensorFlow: importing it costs seconds.
LEARNS = [
    ["inspect", "--data=data/digits-single"],
    ["plan", f"--config_file={CONFIG}", "--num_devices=2"],
    ["train", f"--config_file={CONFIG}", "--dry_run"],
    ["train", f"--config_file={CONFIG}", RUN],
    ["eval", RUN, "--evaluator=places"],
    ["predict", RUN, "--image=digit.jpg", "--output_dir=predicted"],
    ["export", RUN, f"--output={EXPORT}"],
    ["doctor", RUN, f"--export_dir={EXPORT}", "--data=data/digits-single"],
]
DRIVER = """
import json, sys
import mmstack
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    code = mmstack.main(words)
    if code:
        sys.exit(f"mmstack {' '.join(words)} ended with {code}")
"""


class Place:
    """A folder of a stranger, with the system's package installed and the commands at hand."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.package, self.site = folder, folder / "beacon", folder / "site"
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{self.site}:{ROOT}",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "-1",
        }

    def python(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout if check else f"{done.returncode}\n{done.stdout}"

    def mmstack(self, *words: str) -> str:
        return self.python("-m", "mmstack", *words)

    def install(self) -> None:
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--upgrade", "--quiet"]
        self.python("-m", "pip", "install", *options, f"--target={self.site}", str(self.package))

    @contextlib.contextmanager
    def server(self):
        """Addresses of a running `mmstack serve`."""
        words = ["-m", "mmstack", "serve", f"--export_dir={EXPORT}", "--embedded"]
        with open(self.folder / "server.log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, *words, "--rest_port=0", "--grpc_port=0"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield self._addresses(process, pathlib.Path(log.name))
            finally:
                process.terminate()
                process.wait(timeout=30)

    @staticmethod
    def _addresses(process: subprocess.Popen, log: pathlib.Path) -> dict[str, str]:
        for _ in range(300):
            found = re.findall(
                r"(REST|gRPC) (?:http://)?([\d.]+:\d+)", log.read_text(encoding="utf-8")
            )
            if len(dict(found)) == 2:
                return {kind.lower(): address for kind, address in found}
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        raise AssertionError(log.read_text(encoding="utf-8"))


def _state_of_the_repository() -> str:
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    before = _state_of_the_repository()
    place = Place(tmp_path_factory.mktemp("stranger"))
    place.mmstack("new", "system", "beacon", f"--output={place.package}")
    yield place
    assert _state_of_the_repository() == before


@pytest.fixture(scope="module")
def skeleton_results(place):
    """What the skeleton's own tests say before and after it is filled in."""
    place.install()
    before = place.python("-m", "pytest", "-q", "beacon/tests", check=False)
    # With times of now, as an author's edits have, so that they are built anew.
    shutil.copytree(FILLED, place.package, copy_function=shutil.copyfile, dirs_exist_ok=True)
    shutil.rmtree(place.site)
    place.install()
    return before, place.python("-m", "pytest", "-q", "beacon/tests", check=False)


@pytest.fixture(scope="module")
def learned(place, skeleton_results):
    """What the commands print, from the corpus to the export."""
    sizes = ["--num_train=128", "--num_val=1", "--num_test=32", "--workers=2"]
    place.mmstack("corpus", "digits", "--preset=single", "--output=raw", *sizes)
    place.mmstack(
        "preprocess",
        "--manifest=raw/manifest.jsonl",
        "--output=data/digits-single",
        "--frame_rate_hz=5",
        "--short_side=32",
    )
    item = json.loads((place.folder / "raw/manifest.jsonl").read_text().splitlines()[-1])
    with av.open(str(place.folder / "raw" / item["media"])) as media:
        next(media.decode(video=0)).to_image().save(place.folder / "digit.jpg", quality=95)
    return place.python("-c", DRIVER, json.dumps(LEARNS))


def test_the_skeleton_fails_until_it_is_filled_in(skeleton_results):
    before, after = skeleton_results
    assert before.startswith("1\n") and "NotImplementedError" in before, before
    assert after.startswith("0\n") and "3 passed" in after, after


def test_it_learns_from_its_own_part_and_is_measured_by_its_own_evaluator(place, learned):
    assert "boxes_yxyx_norm: float32[16, 4]" in learned
    assert "boxes of 8 rows: rows that have it 1" in learned
    scores = json.loads(next((place.folder / "runs/beacon/eval").glob("scores-*.json")).read_text())
    found = json.dumps(scores)
    assert "mean_overlap" in found, found
    overlap = scores["scores"]["places"]["mean_overlap"]
    # A box that is the same for all clips covers a tenth of the right one.
    assert overlap > 0.25, scores


def test_a_mistake_in_its_fields_is_told_like_any_other(place, learned):
    wrong = ["--set", "streams.clips.input.boxes.smallest_size=0.1"]
    told = subprocess.run(
        [sys.executable, "-m", "mmstack", "train", f"--config_file={CONFIG}", *wrong, "--dry_run"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert "streams.clips.input.boxes.smallest_size; did you mean" in told.stderr


def test_its_answers_are_served_shown_and_written(place, learned):
    with place.server() as addresses:
        for protocol, address in addresses.items():
            shown = place.mmstack(
                "query",
                f"--address={address}",
                f"--protocol={protocol}",
                f"--export_dir={EXPORT}",
                "--image=digit.jpg",
                f"--output_dir=answers-{protocol}",
            )
            assert "s of sound at 8000 Hz" in shown
            assert_answers(place.folder / f"answers-{protocol}", place.folder / "predicted")


def assert_answers(folder: pathlib.Path, predicted: pathlib.Path) -> None:
    """A box in the picture and a pitch of the right range, as the checkpoint gave them."""
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in predicted.iterdir()}
    (boxes_file,) = folder.glob("*.json")
    (box,) = json.loads(boxes_file.read_text())
    top, left, bottom, right = box["boxes_yxyx_norm"]
    assert 0 <= top < bottom <= 1 and 0 <= left < right <= 1
    assert box["words"] in [str(digit) for digit in range(10)]
    ours = json.loads((predicted / boxes_file.name).read_text())[0]["boxes_yxyx_norm"]
    np.testing.assert_allclose(box["boxes_yxyx_norm"], ours, atol=1e-5, rtol=1e-4)
    (drawn,) = folder.glob("*.png")
    with Image.open(drawn) as picture:
        assert min(picture.size) >= 16
    (sound,) = folder.glob("*.wav")
    with wave.open(io.BytesIO(sound.read_bytes())) as stream:
        assert stream.getframerate() == 8000 and stream.getnframes() == 2000
        samples = np.frombuffer(stream.readframes(2000), np.int16)
    hertz = np.abs(np.fft.rfft(samples.astype(float))).argmax() * 8000 / 2000
    assert abs(hertz - (200 + 100 * int(box["words"]))) <= 60
