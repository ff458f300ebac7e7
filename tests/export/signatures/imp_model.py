"""A run folder with an untrained IMP model with experts, as training would leave it."""

import pathlib

from mm_models.imp.config import AudioConfig, ImpConfig, TextConfig, VideoConfig
from mm_models.layers.mixture_of_experts.options import RoutingOptions
from tests.export.signatures.run_folder import write_run_folder
from tests.trainers.record_factory import Recipe, write_record_folder, write_word_vocabulary
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.runs import build_model, build_task
from trainers.tasks.imp.objectives import ImpObjectiveConfig
from trainers.tasks.imp.task import ImpTaskConfig

STEP = 9
RATE_HZ = 16000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def model_config(**changes) -> ImpConfig:
    """One layer, of three experts, of clips, sounds and text, with one classifier."""
    fields = {
        "size": "debug",
        "num_layers": 1,
        "num_experts": 3,
        "num_expert_layers": 1,
        "experts": RoutingOptions(capacity_factor=1.5),
        "audio": AudioConfig(sample_rate_hz=RATE_HZ),
        "text": TextConfig(vocabulary_size=64),
        "classifiers": {"digits": 10},
        "video": VideoConfig(patches={"default": [2, 8, 8], "fine": [2, 4, 4]}),
    }
    return ImpConfig(**(fields | changes))


def experiment(records: str, vocabulary: str, **changes) -> ExperimentConfig:
    """Streams of two sizes of clips, of stills and of sounds."""

    def clips(num_frames, size, crop="center"):
        return VideoInputConfig(
            num_frames=num_frames, height=size, width=size, crop=crop, frame_stride=1
        )

    def stream(objective, **parts):
        datasets = {"records": DatasetConfig(path=records, caption_languages=["en"])}
        inputs = InputConfig(datasets=datasets, batch_size=4, **parts)
        return StreamConfig(objective=objective, input=inputs)

    text = TextInputConfig(num_candidates=2, num_tokens=6, vocabulary=vocabulary)
    longer = TextInputConfig(num_candidates=1, num_tokens=8, vocabulary=vocabulary)
    sound = AudioInputConfig(num_samples=4096, sample_rate_hz=RATE_HZ)
    names = list(WORDS)
    return ExperimentConfig(
        name="imp_tiny",
        task=ImpTaskConfig(
            model=model_config(**changes),
            objectives={
                "described": ImpObjectiveConfig(pairs={"video_text": 1.0}),
                "stills": ImpObjectiveConfig(pairs={"video_text": 1.0}, patch="fine"),
                "still_class": ImpObjectiveConfig(classifier="digits", class_names=names),
                "sounds": ImpObjectiveConfig(
                    pairs={"audio_text": 1.0},
                    label_prompts="audio",
                    classifier="digits",
                    classifier_modality="audio",
                    classifier_loss="sigmoid",
                    class_names=names,
                ),
            },
        ),
        streams={
            "small": stream("described", video=clips(2, 8), text=text),
            "clips": stream("described", video=clips(4, 16), text=text),
            "stills": stream("stills", video=clips(1, 24, "resize"), text=longer),
            "still_class": stream("still_class", labels=LabelsInputConfig(), video=clips(1, 16)),
            "sounds": stream("sounds", labels=LabelsInputConfig(), audio=sound, text=text),
        },
    )


def write_run(folder: pathlib.Path) -> str:
    """Writes records, vocabulary, config and a checkpoint."""
    recipe = Recipe(splits={"train": 4, "test": 8}, num_shards=1, sample_rate_hz=RATE_HZ)
    records = write_record_folder(folder / "records", recipe)
    config = experiment(records, write_word_vocabulary(folder / "words.txt"))
    task = build_task(config)
    config.task = task.config
    return write_run_folder(folder, config, build_model(task, config), STEP)
