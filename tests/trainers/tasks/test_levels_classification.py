"""Training of backbones of several levels: the battery, and what other models start from."""

import keras
import numpy as np
import pytest

from mm_models.backbones.levels.classifier import LevelsClassifierConfig
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.errors import UserError
from tests import task_battery
from tests.trainers.tasks.batches import input_config, make_batch
from trainers import initialization
from trainers.config.schema import InitializeConfig, StreamConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.tasks.classification.levels_task import (
    LevelsClassificationTask,
    LevelsClassificationTaskConfig,
)


def make_task(classes=("a", "b", "c"), height=16, loss="sigmoid", visual=None, **model):
    inputs = input_config(("video",))
    inputs.labels, inputs.video.height = LabelsInputConfig(), height
    visual = visual or LevelsConfig(
        widths=[8, 8], blocks_per_stage=[2, 2], height=16, width=16, trainable=True
    )
    model = LevelsClassifierConfig(visual=visual, **model)
    config = LevelsClassificationTaskConfig(model=model, class_names=list(classes), loss=loss)
    return LevelsClassificationTask(config, {"images": StreamConfig(input=inputs)})


@pytest.mark.parametrize("loss", ["sigmoid", pytest.param("softmax", marks=pytest.mark.slow)])
def test_battery(loss):
    batch = make_batch(8, ("video",)) | {"label": np.arange(8, dtype=np.int32)[:, None] % 3}
    task = make_task(loss=loss)
    task_battery.check_task(task, batch, stream="images")
    assert task.tokens_per_example("images") == 4 * 2 * (8 * 8 + 4 * 4)


def test_what_cannot_work_is_refused():
    with pytest.raises(UserError, match="images.input.video has 24 x 16 pixels, .* takes 16 x 16"):
        make_task(height=24)
    with pytest.raises(UserError, match="visual.norm is 'batch'"):
        make_task(visual=LevelsConfig(norm="batch"))


def test_other_models_start_from_the_backbone():
    there = {v.path: tuple(v.shape) for v in make_task().build_model().weights}
    start = InitializeConfig(model_dir="runs/visual", part="visual")
    frozen = LevelsConfig(widths=[8, 8], blocks_per_stage=[2, 2], height=16, width=16)
    model = make_task("abcde", visual=frozen).build_model()
    assert all(variable.path.startswith("classifier/") for variable in model.trainable_variables)
    found = initialization.match(model, there, start)
    assert set(found.loaded) == {variable.path for variable in model.visual.weights}
    assert not found.new and not found.left_over


def test_a_new_run_starts_from_the_weights_that_keras_wrote(tmp_path):
    network = keras.Sequential([keras.Input([32, 32, 3])])
    network.add(keras.layers.Conv2D(64, 3, name="block1_conv1"))
    network.save_weights(tmp_path / "vgg16.weights.h5")
    visual = LevelsConfig(
        kind="vgg16",
        levels=["block1_conv1"],
        height=32,
        width=32,
        weights=str(tmp_path / "vgg16.weights.h5"),
    )
    inputs = input_config(("video",))
    inputs.labels, inputs.video.height, inputs.video.width = LabelsInputConfig(), 32, 32
    config = LevelsClassificationTaskConfig(
        model=LevelsClassifierConfig(visual=visual), class_names=["a", "b"]
    )
    task = LevelsClassificationTask(config, {"images": StreamConfig(input=inputs)})
    model = task.build_model()
    (line,) = task.initialize(model)
    assert line.startswith("visual: 1 layers from")
    kernel = network.get_layer("block1_conv1").kernel
    np.testing.assert_array_equal(model.visual.weights[0], kernel)
    assert make_task().initialize(make_task().build_model()) == []
