"""Every printed command fits the options there are, and its files; blocks are run as they stand.

A block of a document that is not run as it stands says why in its first line.
"""

import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import mmstack
from tests.repository.documents import (
    DOCUMENTS,
    ONLY_PARSED,
    SHORTENED,
    Block,
    blocks,
    header_commands,
)
from tests.repository.source_tree import ROOT
from trainers.commands.train import overrides_of
from trainers.config.loading import load_config
from trainers.study.config import load_study

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SHARED = ROOT.parent / "shared" / "data"
# Guides whose other blocks are run one after the other; the data guide in the default tests.
QUICK = "your_own_data.md"
LONG = (
    *("esc10", "features", "fine_tuning", "grid", "imp", "imp_data", "pali", "pali_photos"),
    *("planning", "r3_clips", "tpu", "grounding"),
)
_FEW_CLIPS = ["--num_train=60", "--num_val=10", "--num_test=10", "--workers=1"]


def _name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _check(words: list[str]) -> None:
    """Raises what the command would, before it looks at data."""
    if words[0].rpartition("/")[2] != "mmstack":
        return
    args, unknown = mmstack.build_parser(words[1:]).parse_known_args(words[1:])
    if getattr(args, "accepts_passthrough", False):
        assert all(word.startswith("--") for word in unknown), unknown
    else:
        assert not unknown, unknown
    files = [file for file in getattr(args, "config_file", None) or [] if "<" not in file]
    if isinstance(getattr(args, "config_file", None), str):
        files = [args.config_file]
    if files:
        trains = args.command == "train"
        overrides = overrides_of(args) if trains else getattr(args, "overrides", [])
        load_config(files, overrides)
    if getattr(args, "study_file", ""):
        load_study(args.study_file)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_every_command_of_a_document_fits_the_options_there_are(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for block in blocks(path):
        for words in block.commands:
            _check(words)


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_every_command_of_a_config_fits_the_options_there_are(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in header_commands(path):
        _check(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_a_block_that_is_not_run_as_it_stands_says_why(path):
    run = path.name == QUICK or path.stem in LONG
    for block in blocks(path):
        assert block.language == "sh" or path.name == "serve.md", block.commands
        if block.language == "sh" and not run:
            assert block.note.startswith(ONLY_PARSED), block.commands
        assert not block.note or len(block.note) > len(ONLY_PARSED) + 10, block.note


def _ended(words: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def _run(words: list[str], folder: pathlib.Path) -> str:
    done = _ended(words, folder)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _shortened(words: list[str]) -> list[str]:
    if words[1] == "corpus":
        return [*words, *_FEW_CLIPS]
    return [*words, "--dry_run"] if words[1] == "train" else words


def _run_block(block: Block, folder: pathlib.Path) -> None:
    if block.note.startswith(ONLY_PARSED):
        return
    shortens = block.note.startswith(SHORTENED)
    was_dry = False
    for words in block.commands:
        trains = words[1] == "train"
        # A dry run leaves nothing but for others of its kind.
        if trains or not was_dry:
            _run(_shortened(words) if shortens else words, folder)
        was_dry |= shortens and trains


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with `my_media` (clips, captions beside them), `my_table.csv` and the configs."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "configs").symlink_to(ROOT / "configs")
    sizes = ["--num_train=10", "--num_val=1", "--num_test=1", "--workers=1"]
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
    (folder / "my_sentences.txt").write_text("A dog, barking.\n")
    (folder / "my_table.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_data_guide_works_as_written(workplace):
    found = blocks(ROOT / "docs" / QUICK)
    assert sum(len(block.commands) for block in found) == 15, found
    for block in itertools.takewhile(lambda block: block.commands[0][1] != "train", found):
        _run_block(block, workplace)
    info = json.loads((workplace / "my_records" / "dataset_info.json").read_text())
    assert info["counts"]["items"] == 12
    assert info["counts"]["rejected_items"] == 0
    assert (workplace / "my_records.png").read_bytes().startswith(b"\x89PNG")
    words = (workplace / "my_vocabulary.txt").read_text().split()
    assert words[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert len(words) > 5
    assert not (workplace / "runs").exists()


@pytest.mark.slow
def test_the_data_guide_trains_on_its_clips(workplace):
    test_the_data_guide_works_as_written(workplace)
    dry, whole = blocks(ROOT / "docs" / QUICK)[-2:]
    _run_block(dry, workplace)
    _run([*whole.commands[0], "--set=trainer.train_steps=60"], workplace)
    lines = (workplace / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()
    losses = [line["train/loss"] for line in map(json.loads, lines) if "train/loss" in line]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_guide_works_as_written_as_far_as_it_is_run(name, tmp_path):
    document = ROOT / "docs" / f"{name}.md"
    if "../shared" in document.read_text() and not SHARED.is_dir():
        pytest.skip("needs ../shared/data")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "shared").symlink_to(SHARED.parent)
    for block in blocks(document):
        _run_block(block, folder)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_the_command_of_a_config_runs_as_far_as_it_can(path, tmp_path):
    """Its plan where it has one, which is for models that fit no machine here; else its dry run.

    A task that itself reads a vocabulary or the names of classes says in one line which it lacks.
    """
    commands = header_commands(path)
    plans = [[*words, "--no_activations"] for words in commands if words[1] == "plan"]
    trains = [[*words, "--dry_run"] for words in commands if words[1] == "train"]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for words in plans:
        _run(words, tmp_path)
    for words in () if plans else trains:
        done = _ended(words, tmp_path)
        lacks = re.search("No such file or directory|no data set lists labels", done.stderr)
        assert not done.returncode or (lacks and done.stderr.count("\n") == 1), done.stderr


@pytest.mark.parametrize("document", ["architecture.md", "add_a_system.md"])
def test_files_that_a_guide_names_are_there(document):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+/\w+\.(?:py|yaml|md))`", text))
    # A journey names files from the room on that it goes through.
    rooms = [ROOT, *(ROOT / room for room in ("mm_models", "beam_pipelines", "trainers", "export"))]
    missing = sorted(name for name in named if not any((room / name).is_file() for room in rooms))
    assert len(named) > 5 and not missing, missing
