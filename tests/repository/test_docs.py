"""The `sh` blocks of the data guide are run as they stand, on a folder of generated clips."""

import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def _commands(document: str) -> list[list[str]]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    return [shlex.split(line) for line in lines if line.startswith("mmstack ")]


def _run(words: list[str], folder: pathlib.Path) -> str:
    command = [sys.executable, "-m", *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with `my_media` (clips, captions beside them) and `my_table.csv`."""
    folder = tmp_path_factory.mktemp("workplace")
    sizes = ["--num_train=3", "--num_val=1", "--num_test=1", "--workers=1"]
    _run(["mmstack", "corpus", "digits", "--preset=single", "--output=raw", *sizes], folder)
    (folder / "my_media").mkdir()
    rows = ["media,caption,label"]
    for line in (folder / "raw" / "manifest.jsonl").read_text().splitlines():
        item = json.loads(line)
        name = item["id"].replace("/", "-")
        shutil.copy(folder / "raw" / item["media"], folder / "my_media" / f"{name}.mp4")
        caption, label = item["captions"][0]["text"], item["labels"][0]["text"]
        (folder / "my_media" / f"{name}.txt").write_text(caption + "\n")
        rows.append(f"my_media/{name}.mp4,{caption},{label}")
    (folder / "my_table.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_data_guide_works_as_written(workplace):
    commands = _commands("your_own_data.md")
    assert len(commands) == 6, commands
    for words in commands:
        _run(words, workplace)
    info = json.loads((workplace / "my_records" / "dataset_info.json").read_text())
    assert info["counts"]["items"] == 5
    assert info["counts"]["rejected_items"] == 0
    assert (workplace / "my_records.png").read_bytes().startswith(b"\x89PNG")
    words = (workplace / "my_vocabulary.txt").read_text().split()
    assert words[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert len(words) > 5


@pytest.mark.parametrize("document", ["architecture.md", "add_a_system.md"])
def test_files_that_a_guide_names_are_there(document):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+/\w+\.(?:py|yaml|md))`", text))
    # A journey names files from the room on that it goes through.
    rooms = [ROOT, *(ROOT / room for room in ("mm_models", "beam_pipelines", "trainers", "export"))]
    missing = sorted(name for name in named if not any((room / name).is_file() for room in rooms))
    assert len(named) > 5 and not missing, missing
