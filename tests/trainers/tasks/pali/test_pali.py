"""PaLI's task: the battery with pictures and with packed text, its losses, what it refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests import task_battery
from tests.mm_models.text.pieces import write_model
from tests.trainers.tasks.pali import pali_parts
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig, PromptedTaskConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.tasks.pali.task import PaliTask, PaliTaskConfig

VOCABULARY_SIZE = 420


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")


def make_task(vocabulary, video=True, rows=VOCABULARY_SIZE, inputs=None, **fields):
    prompted = PromptedInputConfig(
        tasks={"captioning": PromptedTaskConfig(), "vqa": PromptedTaskConfig()},
        num_input_tokens=6,
        num_target_tokens=4,
        vocabulary=vocabulary,
        examples_per_row=1 if video else 2,
    )
    stills = VideoInputConfig(num_frames=2, height=16, width=16)
    given = InputConfig(batch_size=8, video=stills if video else None, prompted=prompted)
    model = pali_parts.small_model(vocabulary_size=rows, dropout_rate=0.0)
    config = PaliTaskConfig(model=model, **fields)
    given = dataclasses.replace(given, **(inputs or {}))
    return PaliTask(config, {"pictures": StreamConfig(input=given)})


def make_batch(video=True):
    draw = np.random.default_rng(0)
    inputs = draw.integers(3, VOCABULARY_SIZE, [8, 6]).astype(np.int32)
    inputs[::2, 4:] = 0
    targets = draw.integers(3, VOCABULARY_SIZE, [8, 4]).astype(np.int32)
    targets[:, 3] = 1
    targets[::3, 2:] = [1, 0]
    batch = {
        "example_id": np.arange(8),
        "example_mask": np.ones(8, np.float32),
        "inputs": inputs,
        "targets": targets,
        "task": np.arange(8, dtype=np.int32) % 2,
        "language": np.zeros(8, np.int32),
    }
    if video:
        batch["video"] = draw.uniform(-1, 1, [8, 2, 16, 16, 3]).astype(np.float32)
        batch["video_mask"] = np.ones(8, np.float32)
        return batch
    places = np.arange(6)[None] >= 3
    batch["input_segments"] = np.where(inputs > 0, 1 + places, 0).astype(np.int32)
    batch["target_segments"] = np.where(targets > 0, 1 + (places[:, :4]), 0).astype(np.int32)
    return batch


def outputs_of(task, batch):
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    options = {"stream": "pictures", "training": False}
    model = task.build_model()
    seed = tf.constant([1, 2])
    outputs = task.encode(model, tensors, seed=seed, **options)
    return task.terms(model, outputs, tensors, gather=tf.identity, **options)


@pytest.mark.parametrize("video", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_battery(vocabulary, video):
    task = make_task(vocabulary, video, loss_chunks=2)
    task_battery.check_task(
        task,
        make_batch(video),
        stream="pictures",
        reaches=lambda path: video or path.startswith("language/"),
    )
    assert task.tokens_per_example("pictures") == 10 + (2 * 4 if video else 0)


def test_losses_by_task_add_up_and_missing_pictures_count_nothing(vocabulary):
    task, batch = make_task(vocabulary), make_batch()
    terms = outputs_of(task, batch)
    assert float(terms.loss.weight) == (batch["targets"] > 0).sum()
    parts = [terms.metrics[f"{name}_loss"] for name in ("captioning", "vqa")]
    assert sum(float(part.sum) for part in parts) == pytest.approx(float(terms.loss.sum), rel=1e-5)
    assert float(parts[1].weight) == (batch["targets"][1::2] > 0).sum()
    batch["video_mask"][0] = 0.0
    batch["example_mask"][1] = 0.0
    fewer = outputs_of(task, batch)
    assert float(fewer.loss.weight) == (batch["targets"][2:] > 0).sum()


def test_weights_of_the_loss_reach_it(vocabulary):
    batch = make_batch()
    model = make_task(vocabulary).build_model()

    def terms_of(**fields):
        task = make_task(vocabulary, **fields)
        task.build_model = lambda: model
        return outputs_of(task, batch)

    plain = terms_of(z_loss_weight=0.0)
    assert float(plain.metrics["z_loss"].sum) == 0.0
    heavy = terms_of(z_loss_weight=0.1)
    added = float(heavy.loss.sum) - float(plain.loss.sum)
    assert added == pytest.approx(float(heavy.metrics["z_loss"].sum), rel=1e-3)
    assert added > 0
    assert float(terms_of(label_smoothing=0.2).loss.sum) != float(terms_of().loss.sum)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"z_loss_weight": -1.0}, "task.z_loss_weight is -1.0"),
        ({"label_smoothing": 1.0}, "task.label_smoothing is 1.0"),
        ({"loss_chunks": 3}, "task.loss_chunks is 3, which does not divide streams.pictures"),
        ({"inputs": {"prompted": None}}, "streams.pictures.input.prompted is null"),
        ({"inputs": {"text": TextInputConfig()}}, "streams.pictures.input.text is read"),
    ],
)
def test_what_cannot_work_is_refused(vocabulary, fields, message):
    with pytest.raises(UserError, match=message):
        make_task(vocabulary, **fields)


def test_a_vocabulary_beyond_the_table_is_refused_before_a_model_is_made(vocabulary):
    with pytest.raises(UserError, match="language.vocabulary_size = 64; raise the latter"):
        make_task(vocabulary, rows=64).build_model()
