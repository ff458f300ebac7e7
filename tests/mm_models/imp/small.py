"""Small models of all four modalities and batches for them."""

import dataclasses

import numpy as np
import tensorflow as tf

from mm_models.imp.config import ImpConfig
from mm_models.layers.mixture_of_experts.options import RoutingOptions

MODALITIES = ["video", "audio", "waveform", "text"]


def small(modalities=("video", "audio", "text"), **changes) -> ImpConfig:
    """One dense layer of the size `debug`."""
    return dataclasses.replace(
        ImpConfig(size="debug", num_layers=1, modalities=list(modalities)), **changes
    )


def with_experts(modalities=("video", "audio", "text"), **changes) -> ImpConfig:
    """Two layers, the last of three experts."""
    experts = {"num_layers": 2, "num_experts": 3, "num_expert_layers": 1}
    experts["experts"] = RoutingOptions(capacity_factor=1.1)
    return small(modalities, **(experts | changes))


def inputs(modalities=("video", "audio", "text"), batch: int = 3) -> dict[str, tf.Tensor]:
    """Random inputs; captions of several lengths, one of them in two versions."""
    random = np.random.default_rng(0)
    ids = random.integers(1, 64, size=(batch, 2, 6)).astype(np.int32)
    ids[:, :, 4:] = 0
    ids[0, 1, 1:] = 0
    values = {
        "video": tf.constant(random.uniform(-1, 1, (batch, 4, 16, 16, 3)), tf.float32),
        "audio": tf.constant(random.uniform(-1, 1, (batch, 4096)), tf.float32),
        "waveform": tf.constant(random.uniform(-1, 1, (batch, 1024)), tf.float32),
        "text": tf.constant(ids),
    }
    return {name: values[name] for name in modalities}
