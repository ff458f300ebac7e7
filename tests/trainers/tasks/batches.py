"""Synthetic batches and tiny configs for the tests of tasks and evaluators."""

import numpy as np

from mm_models.vatt.config import named_config
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.tasks.vatt.task import VattTask, VattTaskConfig


def model_config(variant="specific", *, drop_token_rate=0.0, preset="reference_code"):
    config = named_config("debug" if variant == "specific" else "unified_debug")
    config.preset = preset
    for part in (
        (config.video, config.audio, config.text) if variant == "specific" else (config.shared,)
    ):
        part.num_layers = 1
    config.video.drop_token_rate = drop_token_rate
    config.audio.drop_token_rate = drop_token_rate
    return config


def input_config(modalities=("video", "audio", "text"), candidates=2, vocabulary=""):
    return InputConfig(
        batch_size=8,
        video=VideoInputConfig(num_frames=4, height=16, width=16)
        if "video" in modalities
        else None,
        audio=AudioInputConfig(num_samples=1024, sample_rate_hz=1000)
        if "audio" in modalities
        else None,
        text=TextInputConfig(num_candidates=candidates, num_tokens=8, vocabulary=vocabulary)
        if "text" in modalities
        else None,
    )


def make_task(modalities=("video", "audio", "text"), model=None, **fields):
    config = VattTaskConfig(model=model or model_config(), **fields)
    streams = {"clips": StreamConfig(input=input_config(modalities))}
    return VattTask(config, streams)


def make_batch(batch_size=8, modalities=("video", "audio", "text"), candidates=2, seed=0):
    rng = np.random.default_rng(seed)
    ones = np.ones(batch_size, np.float32)
    batch = {"example_id": np.arange(batch_size), "example_mask": ones}
    if "video" in modalities:
        batch["video"] = rng.uniform(-1, 1, (batch_size, 4, 16, 16, 3)).astype(np.float32)
        batch["video_mask"] = ones
    if "audio" in modalities:
        batch["audio"] = rng.uniform(-1, 1, (batch_size, 1024)).astype(np.float32)
        batch["audio_mask"] = ones
    if "text" in modalities:
        text = rng.integers(1, 64, (batch_size, candidates, 8)).astype(np.int32)
        text[:, :, 5:] = 0
        batch["text"] = text
        batch["text_mask"] = ones
        batch["text_candidate_mask"] = np.ones((batch_size, candidates), np.float32)
    return batch
