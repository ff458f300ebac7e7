"""Small inputs and what their batches show, for the tests of this folder."""

import numpy as np

from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_train_dataset


def video_input(**fields):
    plain = {"num_frames": 4, "frame_stride": 2, "height": 32, "width": 32}
    off = {"crop": "center", "flip": False, "color_jitter_probability": 0.0}
    return VideoInputConfig(**(plain | off | fields))


def audio_input(**fields):
    return AudioInputConfig(
        **({"num_samples": 4000, "sample_rate_hz": 8000, "noise_std_share": 0.0} | fields)
    )


def text_input(folder, **fields):
    words = {"vocabulary": f"{folder}/words.txt", "num_candidates": 2, "num_tokens": 6}
    return TextInputConfig(**(words | fields))


def input_config(folder, split="train", **fields):
    datasets = {"synthetic": DatasetConfig(path=folder, split=split)}
    return InputConfig(**({"datasets": datasets, "batch_size": 8} | fields))


def training_batches(config, count, **fields):
    dataset = build_train_dataset(config, **({"seed": 7} | fields))
    return list(dataset.take(count).as_numpy_iterator())


def frame_numbers(video):
    """Frame numbers shown: int[..., frames], read back from the red of a top left pixel."""
    red = (video[..., 2, 2, 0] + 1) * 127.5
    return np.rint((red - 20) / 12).astype(int)
