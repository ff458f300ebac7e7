import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mm_models.errors import UserError
from mmstack import main
from tests import task_battery
from tests.beam_pipelines.media.small_media import TINY, write_lines
from tests.trainers import record_factory
from tests.trainers.tasks.batches import input_config, make_batch, model_config
from trainers.config.schema import StreamConfig
from trainers.data.config import DatasetConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_train_dataset
from trainers.tasks.vatt.classification import VattClassificationTask, VattClassificationTaskConfig

CLASSES = 5
MULTI_LABEL = {"modality": "audio", "loss": "sigmoid"}
SEED = tf.constant([1, 2])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def make_task(modality="video", model=None, inputs=None, **fields):
    inputs = inputs or input_config((modality,))
    inputs.labels = inputs.labels or LabelsInputConfig(num_labels=2)
    fields = {
        "num_classes": CLASSES,
        "modality": modality,
        "model": model or model_config(),
    } | fields
    return VattClassificationTask(
        VattClassificationTaskConfig(**fields), {"clips": StreamConfig(input=inputs)}
    )


def make_labelled(modality, batch_size=8, labels=None):
    batch = make_batch(batch_size, (modality,))
    if labels is None:
        labels = np.stack([np.arange(batch_size) % CLASSES, np.full(batch_size, -1)], axis=1)
        labels[::3, 1] = (labels[::3, 0] + 2) % CLASSES
    return batch | {"label": np.asarray(labels, np.int32)}


def outputs_of(task, model, batch, training=False, seed=SEED):
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    return task.encode(model, tensors, stream="clips", training=training, seed=seed)


def terms_of(task, outputs):
    options = {"stream": "clips", "training": True, "gather": tf.identity}
    return task.terms(None, outputs, {}, **options)


VIDEO = {"modality": "video", "label_smoothing": 0.1}


@pytest.mark.parametrize(
    ("fields", "variant"),
    [
        (VIDEO, "specific"),
        slow(VIDEO, "agnostic"),
        slow(MULTI_LABEL, "specific"),
        slow(MULTI_LABEL, "agnostic"),
    ],
)
def test_battery(fields, variant):
    task = make_task(model=model_config(variant), **fields)
    task_battery.check_task(task, make_labelled(task.modality), stream="clips")


def test_class_balanced_loss_compiles_with_mixup():
    task = make_task(**MULTI_LABEL, class_balanced=True, mixup_alpha=5.0, mixup_beta=5.0)
    model, batch = task.build_model(), make_labelled("audio")
    task_battery.check_seeds(task, model, batch, "clips")
    task_battery.check_compiled_equals_eager(task, model, batch, "clips", 1e-5, 1e-4)


def test_a_fresh_classifier_starts_where_its_loss_says():
    batch = make_labelled("audio")
    task = make_task(**MULTI_LABEL)
    model = task.build_model()
    model.classifier.kernel.assign(tf.zeros_like(model.classifier.kernel))
    bias = model.classifier.bias.numpy()
    np.testing.assert_allclose(bias, -math.log(CLASSES - 1), rtol=1e-6)
    outputs = outputs_of(task, model, batch)
    share = 1 / CLASSES
    positives = outputs["targets"].numpy().sum()
    expected = -positives * math.log(share) - (8 * CLASSES - positives) * math.log(1 - share)
    assert float(terms_of(task, outputs).loss.sum) == pytest.approx(expected, rel=1e-5)
    video = make_task()
    np.testing.assert_array_equal(video.build_model().classifier.bias, 0.0)


def test_mixup_blends_inputs_and_targets_alike_and_only_in_training():
    task = make_task(mixup_alpha=5.0, mixup_beta=5.0)
    seen = []

    def model(inputs, training, seed):
        seen.append(inputs["video"].numpy())
        return tf.zeros([8, CLASSES])

    batch = make_labelled("video")
    batch["video_mask"] = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.float32)
    plain = outputs_of(task, model, batch)["targets"].numpy()
    np.testing.assert_array_equal(seen[0], batch["video"])
    mixed = outputs_of(task, model, batch, training=True)
    first, second = batch["video"], batch["video"][::-1]
    shares = (seen[1] - second)[:, 0, 0, 0, 0] / (first - second)[:, 0, 0, 0, 0]
    assert np.ptp(shares[1:]) > 0.1
    assert shares[0] == pytest.approx(1.0)  # its partner has no video
    wide = shares[:, None]
    np.testing.assert_allclose(mixed["targets"], wide * plain + (1 - wide) * plain[::-1], atol=1e-4)
    again = outputs_of(task, model, batch, training=True)["targets"]
    np.testing.assert_array_equal(again, mixed["targets"])
    other = outputs_of(task, model, batch, training=True, seed=SEED + 1)["targets"]
    assert np.abs(other - mixed["targets"]).max() > 0.01


def test_rows_without_the_modality_or_a_label_do_not_count():
    task = make_task()
    labels = [[0, -1], [1, -1], [-1, -1], [2, -1]]
    batch = make_labelled("video", 4, labels)
    batch["video_mask"] = np.array([1, 0, 1, 1], np.float32)
    outputs = outputs_of(task, task.build_model(), batch)
    logits = np.full((4, CLASSES), -9.0, np.float32)
    logits[[0, 1, 2, 3], [0, 3, 3, 4]] = 9.0
    terms = terms_of(task, outputs | {"logits": tf.constant(logits)})
    assert float(terms.loss.weight) == 2
    assert [float(value) for value in terms.metrics["accuracy"]] == [1.0, 2.0]
    assert [float(value) for value in terms.metrics["labelled"]] == [2.0, 3.0]
    assert float(terms.loss.sum) == pytest.approx(18.0, abs=1e-3)


def test_views_are_averaged_as_logits():
    task = make_task()
    model = task.build_model()
    clips = np.random.default_rng(0).uniform(-1, 1, (2, 12, 4, 16, 16, 3)).astype(np.float32)
    alone = np.stack([model({"video": clips[:, view]}) for view in range(12)])
    np.testing.assert_allclose(model({"video": clips}), alone.mean(axis=0), atol=1e-5, rtol=1e-4)


def test_drop_token_is_off_unless_asked_for():
    tokens = {}
    for name, fields in {
        "default": {},
        "reference": {"drop_token": True},
        "chosen": {"model": model_config(drop_token_rate=0.25)},
    }.items():
        model = fields.pop("model", None) or model_config(drop_token_rate=None)
        tokens[name] = make_task(model=model, **fields).tokens_per_example("clips")
    assert tokens == {"default": 9, "reference": 5, "chosen": 7}


def test_pictures_become_clips_of_equal_frames(tmp_path):
    """From PNG files over their records to the loss."""
    items = []
    for number, shade in enumerate((40, 110, 180, 250)):
        Image.fromarray(np.full((40, 60, 3), shade, np.uint8)).save(tmp_path / f"{number}.png")
        label = {"index": number % 2, "text": ("dark", "bright")[number % 2]}
        items.append(
            {"id": f"{number}", "media": f"{number}.png", "split": "train", "labels": [label]}
        )
    manifest = write_lines(tmp_path / "manifest.jsonl", items)
    records = str(tmp_path / "records")
    assert main(["preprocess", f"--manifest={manifest}", f"--output={records}", *TINY]) == 0
    inputs = input_config(("video",))
    inputs.batch_size = 4
    inputs.datasets = {"stills": DatasetConfig(path=records)}
    inputs.video = VideoInputConfig(num_frames=4, height=16, width=16, color_jitter_probability=0.0)
    task = make_task(inputs=inputs, num_classes=0)
    assert task.class_names == ["dark", "bright"]
    batch = next(iter(build_train_dataset(inputs, seed=0)))
    frames = batch["video"].numpy()
    np.testing.assert_array_equal(frames, frames[:, :1].repeat(4, axis=1))
    shades = sorted(np.rint((frames.mean(axis=(1, 2, 3, 4)) + 1) * 127.5).tolist())
    np.testing.assert_allclose(shades, [40, 110, 180, 250], atol=3)
    outputs = outputs_of(task, task.build_model(), {k: v.numpy() for k, v in batch.items()})
    assert float(terms_of(task, outputs).loss.weight) == 4


def test_class_names_come_from_the_data_the_config_or_are_numbers(tmp_path):
    folder = record_factory.write_record_folder(tmp_path, record_factory.Recipe(num_frames=2))
    inputs = input_config(("video",))
    inputs.datasets = {"records": DatasetConfig(path=folder)}
    found = make_task(inputs=inputs, num_classes=0)
    assert found.class_names == list(record_factory.WORDS)
    assert found.config.num_classes == 10
    # What a run has written down is read back unchanged.
    again = VattClassificationTask(found.config, found.streams)
    assert again.config == found.config
    assert make_task().class_names == ["0", "1", "2", "3", "4"]
    assert make_task(num_classes=0, class_names=["cat", "dog"]).config.num_classes == 2
    for fields in (
        {"num_classes": 3},
        {"num_classes": 0, "class_names": ["cat", "dog"]},
    ):
        with pytest.raises(UserError, match="class"):
            make_task(inputs=inputs, **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"loss": "hinge"}, "task.loss is 'hinge'"),
        ({"modality": "text"}, "task.modality is 'text'"),
        ({"loss": "sigmoid", "label_smoothing": 0.1}, "label_smoothing is 0.1"),
        ({"class_balanced": True}, "class_balanced"),
        ({"mixup_alpha": 5.0}, "mixup_beta is 0.0"),
        ({"head_dropout_rate": 1.0}, "head_dropout_rate is 1.0"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 3, "class_names": ["a", "b"]}, "num_classes is 3"),
    ],
)
def test_user_mistakes_are_named(fields, said):
    with pytest.raises(UserError, match=said):
        make_task(**{"inputs": input_config(("video",)), **fields})


def test_streams_that_do_not_fit_are_named():
    with pytest.raises(UserError, match=r"input.audio is read, but the task looks at 'video'"):
        make_task(inputs=input_config(("video", "audio")))
    with pytest.raises(UserError, match=r"input.video is null"):
        make_task(inputs=input_config(("text",)))
    unlabelled = input_config(("video",))
    config = VattClassificationTaskConfig(num_classes=3, model=model_config())
    with pytest.raises(UserError, match="input.labels is null"):
        VattClassificationTask(config, {"clips": StreamConfig(input=unlabelled)})
