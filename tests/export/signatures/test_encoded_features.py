"""Features that an encoder inside an export makes of frames, against those of the job."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_pipelines.pipelines.features.pooling import windows
from export.signatures.shared import encoded_features
from export.signatures.shared.encoded_features import EncodedFeatures, FeatureSource
from mm_models.errors import UserError
from tests.beam_pipelines.pipelines.features.toy_encoders import write_encoder
from tests.export.signatures.r3_model import DIM, FRAME_RATE_HZ, RATE_HZ, make_features
from trainers.data.parts.features.config import FeaturesInputConfig

STEPS = 5
SHAPES = {"any": (None, None, None, None), "fixed": (2, 2, 16, 16)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("sampling", "window_seconds", "most_frames"),
    [("truncate", 0.0, 16), ("uniform", 0.0, 16), ("truncate", 0.8, 18)],
)
def test_features_inside_a_graph_are_those_of_the_job(
    shape, sampling, window_seconds, most_frames, tmp_path
):
    made = make_features(tmp_path, SHAPES[shape], window_seconds)
    config = FeaturesInputConfig(num_steps=STEPS, dim=DIM, sampling=sampling)
    source = FeatureSource(RATE_HZ, FRAME_RATE_HZ, 32, window_seconds=window_seconds)
    found = EncodedFeatures(made.encoder, source, config)
    assert found.most_frames == most_frames
    kept = [0, 1, 2, 3, 4] if sampling == "truncate" else [0, 1, 3, 4, 5]
    graph = tf.function(found.of_jpeg)
    for jpegs, features in made.clips():
        maps, num_steps = graph(tf.constant([jpegs]))
        np.testing.assert_allclose(maps[0], features[kept], atol=1.5)
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in jpegs])
        exact, _ = found.of_pixels(tf.constant(pixels[None]))
        # With a resize the two libraries round differently.
        tolerance = 1e-3 if shape == "any" else 1.0
        np.testing.assert_allclose(exact[0], features[kept], atol=tolerance)
        assert num_steps.numpy().tolist() == [5]
        short, count = found.of_pixels(tf.constant(pixels[None, :5]))
        assert count.numpy().tolist() == [2]
        if not window_seconds:
            np.testing.assert_allclose(short[0, 0], features[0], atol=tolerance)
        assert not np.any(short[0, 2:])


def test_steps_between_frames_have_the_one_before(tmp_path):
    encoder = write_encoder(tmp_path / "colors", cells=3)
    config = FeaturesInputConfig(num_steps=8, dim=DIM)
    found = EncodedFeatures(str(encoder), FeatureSource(4.0, 2.0, 6), config)
    frames = np.zeros([1, 4, 6, 6, 3], np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]
    maps, count = found.of_pixels(tf.constant(frames))
    assert count.numpy().tolist() == [7]
    assert maps[0, :, 0, 0, 0].numpy().tolist() == [0, 0, 1, 1, 2, 2, 3, 0]
    assert found.step_pictures([b"0", b"1", b"2", b"3"]) == [
        *(b"0", b"0", b"1", b"1", b"2", b"2", b"3")
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_windows_inside_a_graph_are_those_of_the_job(count):
    for size in range(count, 40):
        expected = np.zeros([count, size])
        for place, (start, end) in enumerate(windows(size, count)):
            expected[place, start:end] = 1 / (end - start)
        np.testing.assert_allclose(
            encoded_features._averages(tf.constant(size), count), expected, atol=1e-6
        )


def test_an_encoder_of_another_shape_is_refused(tmp_path):
    encoder = str(write_encoder(tmp_path / "colors", cells=2))
    config = FeaturesInputConfig(num_steps=2, dim=DIM)
    with pytest.raises(UserError, match="2x2 regions of 3 numbers, and the model learned from 3x3"):
        EncodedFeatures(encoder, FeatureSource(1.0, 8.0, 8), config)
