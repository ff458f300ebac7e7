"""A run folder with an untrained `debug` VATT model, as training would leave it."""

import pathlib

import keras

from mm_models.vatt.config import named_config
from mm_models.vatt.model import VattModel
from tests.export.signatures.run_folder import write_run_folder
from tests.trainers.record_factory import write_record_folder, write_word_vocabulary
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.tasks.vatt.task import VattTaskConfig

STEP = 7


def write_run(folder: pathlib.Path, name: str = "debug", sample_rate_hz: int = 8000) -> str:
    """Writes records, vocabulary, config and a checkpoint with moved batch-norm statistics."""
    model_config = named_config(name)
    keras.utils.set_random_seed(0)
    model = VattModel(model_config)
    for variable in model.variables:
        if "moving_mean" in variable.path:
            variable.assign(keras.random.normal(variable.shape, stddev=0.1, seed=1))
    video, audio, text = model.config.video, model.config.audio, model.config.text
    inputs = InputConfig(
        datasets={"records": DatasetConfig(path=write_record_folder(folder / "records"))},
        batch_size=4,
        video=VideoInputConfig(
            num_frames=video.num_frames, height=video.height, width=video.width, crop="center"
        ),
        audio=AudioInputConfig(num_samples=audio.num_samples, sample_rate_hz=sample_rate_hz),
        text=TextInputConfig(
            num_candidates=1,
            num_tokens=text.num_tokens,
            vocabulary=write_word_vocabulary(folder / "words.txt"),
        ),
    )
    config = ExperimentConfig(
        name=f"vatt_{name}",
        task=VattTaskConfig(model=model_config),
        streams={"main": StreamConfig(input=inputs)},
    )
    return write_run_folder(folder, config, model, STEP)
