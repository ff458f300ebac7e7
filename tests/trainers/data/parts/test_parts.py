"""What parts say of a batch, and of each other."""

import dataclasses

import numpy as np
import pytest

from beam_pipelines.record import contract
from mm_models.errors import UserError
from tests.trainers.data import inputs
from tests.trainers.data.prompted_records import input_config, video, write_folder
from tests.trainers.record_factory import Recipe, write_record_folder, write_word_vocabulary
from trainers.data.config import InputConfig
from trainers.data.first_batch import check_input
from trainers.data.opening import OpenedInput
from trainers.data.parts.base import build_parts
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.video.part import VideoPart


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> InputConfig:
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    recipe = Recipe(splits={"train": 8}, without_video=4, without_audio=2, num_frames=4)
    folder = write_record_folder(path, recipe)
    return inputs.input_config(
        folder,
        video=inputs.video_input(),
        audio=inputs.audio_input(),
        text=inputs.text_input(folder),
        labels=LabelsInputConfig(),
    )


def test_a_batch_in_numbers(config):
    batch = inputs.training_batches(config, 1)[0]
    facts = {name: part.facts(batch) for name, part in build_parts(config).items()}
    pictures, sounds = batch["video"][batch["video_mask"] > 0], batch["audio"]
    assert facts["video"] == {
        "rows that have it": 0.75,
        "lowest value": pictures.min(),
        "highest value": pictures.max(),
        "constant pictures": 0.0,
    }
    assert facts["audio"]["rows that have it"] == 0.5 and facts["audio"]["silent sound"] == 0.0
    assert facts["audio"]["highest value"] == pytest.approx(np.abs(sounds).max(), rel=0.01)
    assert facts["labels"] == {
        "rows that have it": 1.0,
        "lowest class": 0.0,
        "highest class": 7.0,
        "different classes": 8.0,
    }
    assert facts["text"]["captions of a row"] == 2.0
    # One word and five words.
    assert facts["text"]["ids of a caption"] == 3.0


def test_pictures_of_one_colour_and_silence_are_counted(config):
    read = inputs.training_batches(config, 1)[0]
    batch = {name: values.copy() for name, values in read.items()}
    batch["video"][np.flatnonzero(batch["video_mask"])[:3]] = [0.5, -0.5, 1.0]
    batch["audio"][np.flatnonzero(batch["audio_mask"])[0]] = 0.25
    parts = build_parts(config)
    assert parts["video"].facts(batch)["constant pictures"] == 0.5
    assert parts["audio"].facts(batch)["silent sound"] == 0.25
    nothing = batch | {"video_mask": np.zeros(8, np.float32)}
    assert parts["video"].facts(nothing) == {"rows that have it": 0.0}


def test_facts_are_lines_of_the_first_rows(config):
    looked, repeats, *lines = check_input(dataclasses.replace(config, batch_size=8), seed=7)
    assert looked == "  synthetic: of 8 records, video 75%, audio 50%, text 100%, labels 100%"
    assert repeats == "  first 8 rows: 0% repeat another one of them"
    assert [line.split(" of 8 rows: ")[0].strip() for line in lines] == [*config.parts]
    assert "rows that have it 0.75, lowest value -0." in lines[0]


def test_a_damaged_record_is_a_users_mistake(tmp_path):
    folder = write_record_folder(tmp_path, Recipe(splits={"train": 2}, num_shards=1))
    shard = tmp_path / contract.shard_name("train", 0, 1)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    given = inputs.input_config(folder, video=inputs.video_input(), batch_size=2)
    with pytest.raises(UserError, match="corrupt_policy to skip"):
        check_input(given)


def test_one_part_says_where_examples_come_from(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "records")
    given = input_config(folder, {"captioning": 1.0}, video=video())
    source = OpenedInput.open(given).source
    assert source.sizes == [30] and source.dataset_shares == [1.0]
    monkeypatch.setattr(VideoPart, "example_source", lambda part: source)
    with pytest.raises(UserError, match="input reads video and prompted, which each say where"):
        OpenedInput.open(given)
