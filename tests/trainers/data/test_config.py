import dataclasses

import pytest

from mm_models.errors import UserError
from tests.trainers.record_factory import Recipe, write_record_folder, write_word_vocabulary
from trainers.data import examples, plan
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_train_dataset
from trainers.data.validation import validate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    return write_record_folder(path, Recipe(splits={"train": 12, "test": 6}, num_frames=4))


def _input(folder):
    return InputConfig(
        datasets={"synthetic": DatasetConfig(path=folder)},
        batch_size=4,
        video=VideoInputConfig(num_frames=4, height=32, width=32),
        audio=AudioInputConfig(num_samples=1000, sample_rate_hz=8000),
        text=TextInputConfig(vocabulary=f"{folder}/words.txt"),
        labels=LabelsInputConfig(),
    )


WRONG = [
    ("batch_size", 0, "at least 1"),
    ("labels.num_labels", 0, "at least 1"),
    ("prefetch_batches", 0, "at least 1"),
    ("num_parallel_calls", -1, "at least 0"),
    ("datasets", {}, "at least one data set"),
    ("datasets.synthetic.path", "", "record folder"),
    ("datasets.synthetic.weight", 0.0, "above 0"),
    ("datasets.synthetic.weight", float("nan"), "above 0"),
    ("datasets.synthetic.corrupt_policy", "ignore", "fail, skip"),
    ("datasets.synthetic.corrupt_share_limit", 1.5, "between 0 and 1"),
    ("datasets.synthetic.feature_names", {"image": "frames"}, "no key of ours"),
    ("video.num_frames", 0, "at least 1"),
    ("video.frame_stride", 0, "at least 1"),
    ("video.height", 0, "at least 1"),
    ("video.crop", "middle", "inception, vgg"),
    ("video.color_jitter_probability", -0.1, "between 0 and 1"),
    ("video.num_crops", 2, "one of 1, 3"),
    ("audio.num_samples", 0, "at least 1"),
    ("audio.sample_stride", 0, "at least 1"),
    ("audio.noise_std_share", -1.0, "at least 0"),
    ("audio.num_windows", 2, "make them equal"),
    ("text.num_candidates", 0, "at least 1"),
    ("text.tokenizer", "letters", "word, whitespace, wordpiece"),
    ("text.vocabulary", "", "vocabulary file"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_wrong_values_name_the_field(folder, field, value, message):
    config = _input(folder)
    validate(config, "streams.a.input")
    *path, last = field.split(".")
    owner = config
    for name in path:
        owner = owner[name] if isinstance(owner, dict) else getattr(owner, name)
    setattr(owner, last, value)
    with pytest.raises(UserError, match=message) as error:
        validate(config, "streams.a.input")
    assert f"streams.a.input.{field}" in str(error.value)


def test_some_modality_is_needed(folder):
    config = dataclasses.replace(_input(folder), video=None, audio=None, text=None)
    with pytest.raises(UserError, match="reads no modality"):
        validate(config)


def test_plan_tells_records_steps_and_shapes(folder):
    config = _input(folder)
    config.datasets["more"] = DatasetConfig(path=folder, split="test", weight=3.0)
    text = str(plan.plan(config))
    assert "synthetic: 12 records in 2 shards" in text
    assert "25.0% of the examples, 12.0 steps per epoch" in text
    assert "75.0% of the examples, 2.0 steps per epoch" in text
    assert "video: float32[4, 4, 32, 32, 3]" in text and "vocabulary: 30 ids" in text


def test_plan_shapes_are_those_of_the_batches(folder):
    config = _input(folder)
    spec = build_train_dataset(config, seed=0).element_spec
    found = {name: f"{each.dtype.name}{list(each.shape)}" for name, each in spec.items()}
    assert plan.plan(config).shapes == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: setattr(config.audio, "sample_rate_hz", 16_000), "8000 Hz.*16000"),
        (lambda config: setattr(config.video, "height", 224), None),
        (lambda config: setattr(config.video, "width", 20), None),
        (lambda config: setattr(config.text, "vocabulary", "/gone"), "/gone cannot be read"),
        (lambda config: setattr(config.datasets["synthetic"], "split", "x"), "'x' is not in"),
    ],
)
def test_plan_finds_what_does_not_fit_the_records(folder, change, message):
    config = _input(folder)
    change(config)
    if message is None:
        plan.plan(config)
        config.video.height = config.video.width = 224
        message = "short side of 32 pixels and the input asks for 224x224"
    with pytest.raises(UserError, match=message):
        plan.plan(config, "streams.a.input")


def test_evaluation_views_are_refused_in_training(folder):
    config = _input(folder)
    config.video.num_windows = 4
    with pytest.raises(UserError, match="evaluation views"):
        build_train_dataset(config, seed=0)


def test_batches_must_divide_over_replicas(folder):
    import tensorflow as tf

    with pytest.raises(UserError, match="3 replicas on 1 hosts do not divide"):
        build_train_dataset(
            _input(folder), seed=0, input_context=tf.distribute.InputContext(1, 0, 3)
        )


def test_contents_follow_what_data_sets_hold_and_not_where(folder, tmp_path):
    base = plan.input_contents(_input(folder))
    assert base["synthetic"].startswith("12 records in ")
    same = _input(write_record_folder(tmp_path, Recipe(splits={"train": 12}, num_frames=4)))
    same.text.vocabulary = f"{folder}/words.txt"
    assert plan.input_contents(same) == base
    other = _input(folder)
    other.datasets["synthetic"].split = "test"
    assert plan.input_contents(other) != base


def test_examples_are_described(folder):
    config = _input(folder)
    config.datasets["more"] = DatasetConfig(path=folder, split="test")
    first, second, padding = examples.describe([3, 2**40 + 1, -1], config)
    assert (first.dataset, first.key, first.label_texts) == (
        "synthetic",
        "train/000003#0",
        ("three",),
    )
    assert first.captions[:2] == ("three", "a green digit three moves")
    assert first.languages == ("en", "en", "de", "en") and first.styles[1] == "full"
    assert first.relations[3] == "neighbour"
    assert (second.dataset, second.key) == ("more", "test/000001#0")
    assert padding == examples.ExampleInfo(-1)
