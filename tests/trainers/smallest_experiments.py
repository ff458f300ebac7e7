"""The smallest experiment of every system: `*debug.yaml` in its folder of configs."""

import functools
import pathlib

from tests.mm_models.text import pieces
from tests.mm_models.text.dummy_word_encoder import write_encoder
from tests.repository.source_tree import ROOT
from tests.trainers import record_factory
from tests.trainers.data import prompted_records
from trainers.config.loading import load_config


@functools.cache
def smallest_experiments() -> dict[str, list[str]]:
    """Paths of the smallest experiments by the system they train."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "configs").rglob("*debug.yaml")):
        found.setdefault(load_config([str(path)]).task.name, []).append(str(path))
    return found


def place_with_records(folder: pathlib.Path) -> pathlib.Path:
    """Puts configs and the records that the smallest experiments name into a folder."""
    (folder / "configs").symlink_to(ROOT / "configs")
    digits = folder / "data/digits-single"
    recipe = record_factory.Recipe(
        splits={"train": 32, "test": 16}, sample_rate_hz=16000, phrases=True
    )
    record_factory.write_record_folder(digits, recipe)
    record_factory.write_word_vocabulary(digits / "vocabulary.txt")
    prompted_records.write_folder(folder / "data/pictures", {"train": 32, "test": 16})
    related = folder / "data/related-features"
    recipe = record_factory.Recipe(
        splits={"train": 32, "test": 16}, num_frames=0, features=(3, 3, 128)
    )
    record_factory.write_record_folder(related, recipe)
    pieces.write_model(related / "pieces.model")
    captions = folder / "data/digits-captions"
    recipe = record_factory.Recipe(splits={"train": 32, "test": 16}, num_frames=0)
    record_factory.write_record_folder(captions, recipe)
    record_factory.write_word_vocabulary(captions / "words.txt")
    write_encoder(folder / "exports/words-debug", width=12)
    return folder
