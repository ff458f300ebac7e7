"""Run folders with untrained grounding models of debug size, behind an encoder of hashed words."""

import dataclasses
import pathlib

from mm_models.backbones.levels.config import LevelsConfig
from mm_models.grounding.config import GroundingConfig
from tests.export.signatures.run_folder import write_run_folder
from tests.mm_models.text.dummy_word_encoder import write_encoder
from tests.trainers.record_factory import Recipe, write_record_folder
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.phrases.config import PhrasesInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.runs import build_model, build_task
from trainers.tasks.grounding.task import GroundingTaskConfig

SIZE, WIDTH, NUM_WORDS, NUM_FRAMES = (32, 40), 12, 6, 3


def experiment(folder: pathlib.Path, num_frames: int = NUM_FRAMES) -> ExperimentConfig:
    """One stream of records with captions, which are written with the encoder."""
    recipe = Recipe(splits={"train": 4}, num_shards=1)
    records = write_record_folder(folder / "records", recipe)
    stages = {"widths": [8, 8], "blocks_per_stage": [1, 1], "norm": "none"}
    levels = ["stage1_block1", "stage2_block1"]
    visual = LevelsConfig("small", levels, height=SIZE[0], width=SIZE[1], **stages)
    encoder = write_encoder(folder / "words" / "1", width=WIDTH)
    inputs = InputConfig(
        datasets={"records": DatasetConfig(path=records, caption_languages=["en"])},
        batch_size=2,
        video=VideoInputConfig(num_frames=num_frames, height=SIZE[0], width=SIZE[1]),
        phrases=PhrasesInputConfig(encoder=encoder, width=WIDTH, num_words=NUM_WORDS),
    )
    model = GroundingConfig(size="debug", visual=visual)
    return ExperimentConfig(
        name="grounding_tiny",
        task=GroundingTaskConfig(model=model),
        streams={"main": StreamConfig(input=inputs)},
    )


def with_stream(config: ExperimentConfig, name: str, encoder: str) -> ExperimentConfig:
    """The experiment with a second stream behind another encoder."""
    first = config.streams["main"]
    phrases = dataclasses.replace(first.input.phrases, encoder=encoder)
    other = dataclasses.replace(first, input=dataclasses.replace(first.input, phrases=phrases))
    return dataclasses.replace(config, streams={**config.streams, name: other})


def write_run(folder: pathlib.Path, config: ExperimentConfig | None = None) -> str:
    """Writes config and checkpoint. Returns the run folder."""
    config = config or experiment(folder)
    task = build_task(config)
    config.task = task.config
    return write_run_folder(folder, config, build_model(task, config), 5)
