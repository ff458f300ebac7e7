"""The backbone's own training: the battery, what fills in its config, what PaLI finds again."""

import numpy as np
import pytest

from mm_models.backbones.image_classifier import ImageClassifier
from mm_models.backbones.vit_config import VitConfig
from mm_models.errors import UserError
from mm_models.pali.model import PaliModel
from tests import task_battery
from tests.trainers.tasks.batches import input_config, make_batch
from trainers import initialization
from trainers.config.schema import InitializeConfig, StreamConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.tasks.classification.image_task import (
    VitClassificationTask,
    VitClassificationTaskConfig,
)


def make_task(pool="map", height=16, **fields):
    inputs = input_config(("video",))
    inputs.labels, inputs.video.height = LabelsInputConfig(), height
    model = VitConfig(size="debug", pool=pool, head_zero_init=False)
    config = VitClassificationTaskConfig(model=model, class_names=["a", "b", "c"], **fields)
    return VitClassificationTask(config, {"images": StreamConfig(input=inputs)})


@pytest.mark.parametrize(
    ("pool", "loss"), [("map", "sigmoid"), pytest.param("cls", "softmax", marks=pytest.mark.slow)]
)
def test_battery(pool, loss):
    batch = make_batch(8, ("video",)) | {"label": np.arange(8, dtype=np.int32)[:, None] % 3}
    task = make_task(pool, loss=loss)
    # Images are smaller than those that the position table was made for: all of it is resampled.
    task_battery.check_task(task, batch, stream="images")
    assert task.tokens_per_example("images") == 4 * (2 * 2 + (pool == "cls"))


def test_logits_are_averaged_over_frames_and_views():
    model = ImageClassifier(make_task().config.model)
    video = make_batch(2, ("video",))["video"]
    frames = [model({"video": video[:, index : index + 1]}) for index in range(4)]
    np.testing.assert_allclose(
        model({"video": video}), np.mean(frames, axis=0), atol=1e-5, rtol=1e-4
    )
    views = video.reshape(2, 2, 2, 16, 16, 3)
    np.testing.assert_allclose(
        model({"video": views}), np.mean(frames, axis=0), atol=1e-5, rtol=1e-4
    )


def test_classes_are_evaluated_from_the_images_of_a_batch():
    task = make_task()
    model, batch = task.build_model(), make_batch(2, ("video", "text"))
    classifier = task.classifiers()[""]
    assert classifier.modality == "video" and list(task.classifiers()) == [""]
    logits = classifier.logits(model, {"video": batch["video"]})
    np.testing.assert_allclose(logits, model({"video": batch["video"]}), atol=1e-5, rtol=1e-4)


def test_what_cannot_work_is_refused():
    with pytest.raises(UserError, match="pool is 'none'"):
        make_task("none")
    with pytest.raises(UserError, match="smaller than a patch"):
        make_task(height=4)


def test_pali_starts_from_its_backbone():
    there = {v.path: tuple(v.shape) for v in make_task().build_model().weights}
    start = InitializeConfig(model_dir="runs/vit", part="vision")
    found = initialization.match(PaliModel({"size": "debug"}), there, start)
    assert not found.new
    assert {"/".join(path.split("/")[:2]) for path in found.left_over} == {
        "vision/map_head",
        "vision/head",
    }
