"""What a prompted input is refused for, before any batch is read."""

import dataclasses

import pytest

from mm_models.errors import UserError
from tests.mm_models.text.pieces import train
from tests.trainers.data.prompted_records import (
    TEMPLATES,
    input_config,
    video,
    write_folder,
)
from trainers.data import pipeline
from trainers.data import plan as data_plan
from trainers.data.config import DatasetConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.prompted.config import PromptedTaskConfig
from trainers.data.validation import validate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("records"))


PROMPTED = [
    ({"tasks": {}}, "prompted.tasks is empty"),
    ({"num_input_tokens": 3}, "num_input_tokens is 3; it must be at least 4"),
    ({"num_target_tokens": 0}, "num_target_tokens is 0"),
    ({"tokenizer": "word"}, "tokenizer is 'word'; it must be one of sentencepiece"),
    ({"vocabulary": ""}, "vocabulary is empty"),
    ({"templates": ""}, "templates is empty"),
    ({"languages": []}, "name each language once"),
    ({"languages": ["en", "en"]}, "name each language once"),
    ({"mixing": "share"}, "mixing is 'share'; it must be one of rate, size, temperature"),
    ({"temperature": 2.0}, "temperature is 2.0, which mixing 'rate' does not read"),
    ({"mixing": "size", "temperature": 2.0}, "which mixing 'size' does not read"),
    ({"mixing": "size", "scale": 0.0}, "scale is 0.0"),
    ({"maximum": 5.0}, "maximum is 5.0, which mixing 'rate' does not read"),
    ({"examples_per_row": 0}, "examples_per_row is 0"),
    ({"tasks": {"ocr": PromptedTaskConfig(rate=0.0)}}, "tasks.ocr.rate is 0.0"),
    ({"tasks": {"ocr": PromptedTaskConfig(max_captions=-1)}}, "max_captions is -1"),
    ({"tasks": {"ocr": PromptedTaskConfig(datasets=["x"])}}, "datasets names 'x'"),
    ({"tasks": {"ocr": PromptedTaskConfig(languages=["it"])}}, "'it', which is not among"),
]


@pytest.mark.parametrize(("change", "message"), PROMPTED)
def test_wrong_values_name_the_field(folder, change, message):
    config = input_config(folder, {"captioning": 1.0})
    config.prompted = dataclasses.replace(config.prompted, **change)
    with pytest.raises(UserError, match=message):
        validate(config, "streams.a.input")


def test_rows_of_several_examples_have_no_pictures_and_prompts_one_view(folder):
    config = input_config(folder, {"captioning": 1.0}, examples_per_row=2, video=video())
    with pytest.raises(UserError, match="a row has one video"):
        validate(config)
    sound = AudioInputConfig(num_samples=10, sample_rate_hz=8000)
    with pytest.raises(UserError, match="a row has one audio"):
        validate(dataclasses.replace(config, video=None, audio=sound))
    config = input_config(folder, {"captioning": 1.0}, video=video(num_windows=2))
    with pytest.raises(UserError, match="2 views of it"):
        validate(config)


RECORDS = [
    ({"retrieval": 1.0}, {}, "task 'retrieval' is not in .*templates.yaml"),
    ({"captioning": 1.0}, {"languages": ["en", "tlh"]}, "language 'tlh' is not among"),
    ({"captioning": {"caption_styles": ["poem"]}}, {}, "captioning needs caption .*poem.* none of"),
    ({"captioning": 1.0}, {"languages": ["pl"]}, r"languages pl\), which none of 30 records"),
    ({"vqa": {"question_kinds": ["size"]}}, {}, "vqa needs question .*question_kinds size"),
    ({"detection": 1.0}, {}, "asks for boxes, but .*video is null"),
    ({"detection": 1.0}, {"video": video(flip=True)}, "crop 'resize', flip True"),
    ({"detection": 1.0}, {"video": video(crop="center")}, "crop 'center', flip False"),
    ({"span_corruption": 1.0}, {"video": video()}, "give it a stream of its own with video null"),
    ({"object_aware": {"languages": ["de"]}}, {}, "object_aware may speak de, but .* speaks en"),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "fields", "message"), RECORDS)
def test_tasks_that_nothing_can_serve(folder, tasks, fields, message):
    config = input_config(folder, tasks, **fields)
    with pytest.raises(UserError, match=message):
        data_plan.plan(config, "streams.a.input")


def test_a_data_set_without_questions_is_named(folder, tmp_path):
    without = write_folder(tmp_path / "bare", {"train": 5}, questions=False)
    datasets = {"full": DatasetConfig(path=folder), "bare": DatasetConfig(path=without)}
    config = input_config(folder, {"captioning": 1.0, "vqa": 1.0}, datasets=datasets)
    message = r"vqa needs question .*bare \(train\).*leave the data set 'bare' out of the task's"
    with pytest.raises(UserError, match=message):
        pipeline.build_train_dataset(config, seed=0)
    config.prompted.tasks["vqa"].datasets = ["full"]
    pipeline.build_train_dataset(config, seed=0)


def test_vocabularies_of_another_layout(folder, tmp_path):
    (tmp_path / "none.model").write_bytes(train())
    config = input_config(folder, {"captioning": 1.0}, vocabulary=str(tmp_path / "none.model"))
    with pytest.raises(UserError, match="captioning needs 1 sentinels and .* has 0"):
        data_plan.plan(config)
    (tmp_path / "old.model").write_bytes(train(pad_id=0, unk_id=1, bos_id=2, eos_id=3))
    config.prompted.vocabulary = str(tmp_path / "old.model")
    with pytest.raises(UserError, match="text to text models need 1 and 2"):
        data_plan.plan(config)


def test_a_slot_that_there_is_not(folder, tmp_path):
    with open(TEMPLATES, encoding="utf-8") as file:
        text = file.read().replace('targets: "{ocr}"', 'targets: "{letters}"')
    (tmp_path / "t.yaml").write_text(text)
    config = input_config(folder, {"captioning": 1.0}, templates=str(tmp_path / "t.yaml"))
    with pytest.raises(UserError, match="tasks.ocr has the slot {letters}, which there is not"):
        data_plan.plan(config)
