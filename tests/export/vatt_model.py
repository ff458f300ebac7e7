"""An untrained `debug` VATT model with its inputs, as a run would give it."""

import dataclasses
from typing import Any

import keras

from mm_models.vatt.config import named_config
from mm_models.vatt.model import VattModel
from tests.trainers.record_factory import write_word_vocabulary
from trainers.config import ExperimentConfig, StreamConfig
from trainers.data.config import AudioInputConfig, InputConfig, TextInputConfig, VideoInputConfig
from trainers.tasks.vatt import VattTaskConfig


@dataclasses.dataclass
class FakeRun:
    config: Any
    model: Any
    step: int
    checkpoint: str = "untrained"


def debug_run(folder, name="debug", seed=0):
    """A run whose model has the random weights of `seed` and whose batch-norm statistics moved."""
    model_config = named_config(name)
    keras.utils.set_random_seed(seed)
    model = VattModel(model_config)
    for variable in model.variables:
        if "moving_mean" in variable.path:
            variable.assign(keras.random.normal(variable.shape, stddev=0.1, seed=seed))
    resolved = model.config
    inputs = InputConfig(
        video=VideoInputConfig(
            num_frames=resolved.video.num_frames,
            height=resolved.video.height,
            width=resolved.video.width,
            crop="center",
        ),
        audio=AudioInputConfig(num_samples=resolved.audio.num_samples, sample_rate_hz=8000),
        text=TextInputConfig(
            num_tokens=resolved.text.num_tokens,
            vocabulary=write_word_vocabulary(folder / "words.txt"),
        ),
    )
    config = ExperimentConfig(
        name=f"vatt_{name}",
        task=VattTaskConfig(model=model_config),
        streams={"main": StreamConfig(input=inputs)},
    )
    return FakeRun(config=config, model=model, step=7)
