"""The head against plain NumPy in float64, in the form of either preset."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.vatt.config import HeadConfig
from mm_models.vatt.head import Head
from tests import batteries

DIMS = {"video": 6, "audio": 5, "text": 4}


def make_head(preset: str) -> Head:
    config = HeadConfig(preset=preset, video_audio_dim=7, video_text_dim=3, joint_dim=1)
    head = Head(config, DIMS)
    head.build()
    batteries.shake(head)
    return head


def weights(layer) -> list[np.ndarray]:
    return [weight.numpy().astype(np.float64) for weight in layer.weights]


def linear(layer, rows: np.ndarray) -> np.ndarray:
    kernel, *bias = weights(layer.dense)
    return rows @ kernel + (bias[0] if bias else 0.0)


def norm(layer, rows: np.ndarray, training: bool) -> np.ndarray:
    gamma, beta, mean, variance = weights(layer.norm)
    if training:
        mean, variance = rows.mean(axis=0), rows.var(axis=0)
    return (rows - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def expected(head: Head, pooled: dict, preset: str, training: bool) -> dict:
    maps = head.maps
    hidden = norm(maps["video_hidden"], linear(maps["video_hidden"], pooled["video"]), training)
    fine = linear(maps["video_to_va"], np.maximum(hidden, 0.0))
    fine = norm(maps["video_to_va"], fine, training)
    between = np.maximum(fine, 0.0) if preset == "reference_code" else fine
    coarse = norm(maps["va_to_vt"], linear(maps["va_to_vt"], between), training)
    audio = linear(maps["audio_to_va"], pooled["audio"])
    text = linear(maps["text_to_vt"], pooled["text"])
    if preset == "paper":
        audio = norm(maps["audio_to_va"], audio, training)
        text = norm(maps["text_to_vt"], text, training)
    return {"video_va": fine, "video_vt": coarse, "audio_va": audio, "text_vt": text}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("preset", ["paper", "reference_code"])
def test_equals_the_float64_form(preset, training):
    head, random = make_head(preset), np.random.default_rng(3)
    pooled = {name: random.normal(size=(9, dim)) for name, dim in DIMS.items()}
    wanted = expected(head, pooled, preset, training)
    inputs = {name: tf.constant(rows, tf.float32) for name, rows in pooled.items()}
    got = head(inputs, training=training)
    assert got.keys() == wanted.keys()
    for name, rows in wanted.items():
        np.testing.assert_allclose(got[name], rows, atol=2e-4, err_msg=name)
