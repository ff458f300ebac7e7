"""Preprocessing of real and damaged media: everything in is a record or a reject."""

import json
import pathlib

import pytest

from beam_pipelines.record import contract, reading
from beam_pipelines.sources.folder import read_folder
from beam_pipelines.sources.media_files import MEDIA_EXTENSIONS
from mmstack import main
from tests.beam_pipelines.media.small_media import write_lines

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data"
GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "robustness.json"
SMALL = [
    *("--frame_rate_hz=10", "--short_side=64", "--sample_rate_hz=16000"),
    *("--audio_encoding=pcm16", "--max_rejected_share=1"),
]
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")


def robustness_items() -> list[dict]:
    """Every robustness file that is media, whatever its name says."""
    expected = json.loads((DATA / "robustness" / "expected.json").read_text())["files"]
    names = [entry["file"] for entry in expected if not entry["file"].startswith("text/")]
    return [
        {"id": f"robustness/{name}", "media": str(DATA / "robustness" / name)} for name in names
    ]


def preprocess(items: list[dict], folder: pathlib.Path) -> tuple[dict, dict[str, str]]:
    """Runs the job; returns dataset_info and reject codes by item id."""
    write_lines(folder / "m.jsonl", [{**item, "split": "train"} for item in items])
    output = f"--output={folder}/records"
    assert main(["preprocess", f"--manifest={folder}/m.jsonl", output, *SMALL]) == 0
    info = json.loads((folder / "records" / contract.DATASET_INFO).read_text())
    rejects = (folder / "records" / "rejects.jsonl").read_text().splitlines()
    codes = {reject["id"]: reject["code"] for reject in map(json.loads, rejects)}
    made = {
        context[contract.CLIP_KEY][0].decode().removesuffix("#0")
        for context, _ in reading.iterate(str(folder / "records"), "train")
    }
    assert made.isdisjoint(codes)
    assert made | set(codes) == {item["id"] for item in items}
    assert info["counts"]["items_with_records"] == len(made)
    assert info["counts"]["rejected_items"] == len(codes)
    return info, codes


def check_against_table(codes: dict[str, str]) -> None:
    """The run equals the committed table of the robustness files."""
    table = json.loads(GOLDEN.read_text())["files"]
    for item in robustness_items():
        name = item["id"].removeprefix("robustness/")
        expected = table[name]
        assert codes.get(item["id"]) == expected.get("code"), (name, expected["why"])


def sample() -> list[dict]:
    names = ["friday.mp4", "chaplin.mp4", "elf.webm", "counter_flv_h264.flv", "sintel_snow.mp4"]
    paths = [DATA / "av_clips" / name for name in names]
    paths += sorted((DATA / "coco" / "images").glob("*.jpg"))[:5]
    paths += sorted((DATA / "esc10").glob("*/*.ogg"))[::40]
    paths += sorted((DATA / "fsdd" / "wav").glob("*.wav"))[:5]
    paths += sorted((DATA / "speech").glob("*/*.*"))[:3]
    return [{"id": str(path.relative_to(DATA)), "media": str(path)} for path in paths]


def test_a_sample_and_all_robustness_files(tmp_path):
    items = sample()
    _, codes = preprocess([*items, *robustness_items()], tmp_path)
    assert not [item["id"] for item in items if item["id"] in codes]
    check_against_table(codes)


@pytest.mark.slow
def test_every_media_file(tmp_path):
    folders = sorted(path for path in DATA.iterdir() if path.is_dir() and path.name != "robustness")
    items = []
    for folder in folders:
        if not any(path.suffix.lower() in MEDIA_EXTENSIONS for path in folder.rglob("*")):
            continue
        for found in read_folder(str(folder)):
            name = found["media"] if isinstance(found, dict) else found[0]
            items.append({"id": f"{folder.name}/{name}", "media": str(folder / name)})
    info, codes = preprocess([*items, *robustness_items()], tmp_path)
    assert info["counts"]["items"] > 2800
    check_against_table(codes)
    intact = [item["id"] for item in items if item["id"] in codes]
    assert not intact, {name: codes[name] for name in intact}
