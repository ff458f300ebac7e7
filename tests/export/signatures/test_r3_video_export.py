"""R3 exported with the encoder of its features: frames of a video to a caption and its roles."""

import html
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mmstack
from beam_pipelines.pipelines.features.pooling import windows
from beam_pipelines.record import contract, reading
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures.build import build_signatures
from export.signatures.shared import encoded_features
from export.signatures.shared.encoded_features import EncodedFeatures, FeatureSource
from export.version.options import ExportOptions
from mm_models.errors import UserError
from tests.beam_pipelines.media import media_samples
from tests.beam_pipelines.pipelines.features.toy_encoders import write_encoder
from tests.export.signatures.test_r3_export import write_run
from tests.export_battery import check_export
from tests.trainers.record_factory import Recipe, write_record_folder
from tests.trainers.tasks.r3 import role_parts
from trainers.data.config import DatasetConfig
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.runs import load_run

# 17 frames at 8 Hz are 6 steps at 2.5 Hz: of 4, 3, 3, 3, 3 and 1 frames.
RATE_HZ, STEPS, CELLS = 2.5, 5, 4
SHAPES = {"any": (None, None, None, None), "fixed": (2, 2, 16, 16)}


def make_features(folder, shape, window_seconds=0.0):
    """Records with frames, an encoder and the features that the job makes of both."""
    records = write_record_folder(folder / "frames", Recipe(splits={"test": 4}, num_shards=1))
    encoder = write_encoder(folder / "colors" / "1", cells=CELLS, shape=shape).parent
    command = ["features", f"--records={records}", f"--encoder={encoder}", "--workers=1"]
    command += [f"--rate_hz={RATE_HZ}", f"--window_seconds={window_seconds}"]
    assert mmstack.main([*command, f"--output={folder / 'made'}"]) == 0
    return records, str(encoder), str(folder / "made")


def frames_and_features(records, made):
    """JPEG frames and float32[steps, 3, 3, 3] of each clip."""
    stored = {c[contract.CLIP_KEY][0]: lists for c, lists in reading.iterate(made, "test")}
    for context, lists in reading.iterate(records, "test"):
        features = stored[context[contract.CLIP_KEY][0]][contract.CLIP_FEATURES]
        yield (
            [frame[0] for frame in lists[contract.FRAMES]],
            np.reshape(np.array(features, np.float32), [-1, 3, 3, 3]),
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("sampling", "window_seconds", "most_frames"),
    [("truncate", 0.0, 16), ("uniform", 0.0, 16), ("truncate", 0.8, 18)],
)
def test_features_inside_a_graph_are_those_of_the_job(
    shape, sampling, window_seconds, most_frames, tmp_path
):
    records, encoder, made = make_features(tmp_path, SHAPES[shape], window_seconds)
    config = FeaturesInputConfig(num_steps=STEPS, dim=3, sampling=sampling)
    source = FeatureSource(RATE_HZ, 8.0, 32, window_seconds=window_seconds)
    found = EncodedFeatures(encoder, source, config)
    assert found.most_frames == most_frames
    kept = [0, 1, 2, 3, 4] if sampling == "truncate" else [0, 1, 3, 4, 5]
    graph = tf.function(found.of_jpeg)
    for jpegs, features in frames_and_features(records, made):
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
    config = FeaturesInputConfig(num_steps=8, dim=3)
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on the features of an encoder, and a video."""
    folder = tmp_path_factory.mktemp("r3_video")
    records, encoder, made = make_features(folder, SHAPES["any"])
    datasets = {"made": DatasetConfig(path=made, split="test")}
    features = FeaturesInputConfig(num_steps=role_parts.STEPS, dim=3)
    model_dir = write_run(
        folder, inputs={"datasets": datasets, "features": features}, feature_dim=3
    )
    video = str(folder / "clip.mp4")
    pictures = [media_samples.grey_ramp(number) for number in range(12)]
    media_samples.write_video(video, pictures, rate=8)
    return model_dir, encoder, records, made, video


def test_a_served_video_is_captioned_as_its_features_are(trained, tmp_path, capsys):
    model_dir, encoder, records, made, _ = trained
    flags = [f"--model_dir={model_dir}", f"--encoder={encoder}", f"--output={tmp_path / 'r3'}"]
    assert mmstack.main(["export", *flags, "--frame_rate_hz=8"]) == 0
    options = ExportOptions(encoder=encoder)
    signatures = build_signatures(load_run(model_dir), 8.0, "latest", options)
    info = signatures.info
    assert (info.clip_part, info.num_frames, info.frame_rate_hz) == ("first", 10, 8.0)
    assert info.encoder.startswith("colors/1@")
    with EmbeddedServer([ModelConfig("r3", str(tmp_path / "r3"))]) as server:
        version = server.core.models.get("r3")
        check_export(signatures, version)
        for jpegs, features in list(frames_and_features(records, made))[:2]:
            steps = role_parts.STEPS
            known = {"features": features[None, :steps], "num_steps": np.array([steps], np.int32)}
            expected = version.run(version.signatures["caption"], known)
            sent = {"frames_jpeg": object_array(jpegs)[None]}
            explained = version.run(version.signatures["explain_video"], sent)
            assert explained["text"] == expected["text"]
            np.testing.assert_allclose(explained["score"], expected["score"], atol=0.02)
            roles = version.run(version.signatures["roles"], known | {"caption": expected["text"]})
            np.testing.assert_array_equal(explained["codes"], roles["codes"])
            np.testing.assert_allclose(explained["looked_at"], roles["looked_at"], atol=0.01)


def test_predict_writes_the_caption_and_a_page_of_its_roles(trained, tmp_path, capsys):
    model_dir, encoder, _, _, video = trained
    flags = [f"--model_dir={model_dir}", f"--encoder={encoder}", f"--video={video}"]
    flags += ["--frame_rate_hz=8", f"--output_dir={tmp_path}", "--json"]
    assert mmstack.main(["predict", *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    caption = answer["outputs"]["caption_video.text"]
    assert caption and caption == answer["outputs"]["explain_video.text"]
    page = (tmp_path / "explain_video.html").read_text()
    assert html.escape(caption) in page and "data:image/jpeg" in page and "step 2" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 2.0}, "the model learned from features of colors/1@"),
        ({"cells": 2}, "the model learned from features of colors/1@"),
    ],
)
def test_another_encoder_is_refused(trained, tmp_path, change, message):
    other = write_encoder(tmp_path / "colors", **change)
    with pytest.raises(UserError, match=message):
        build_signatures(load_run(trained[0]), 8.0, "latest", ExportOptions(encoder=str(other)))


def test_an_encoder_of_another_shape_is_refused(tmp_path):
    encoder = str(write_encoder(tmp_path / "colors", cells=2))
    with pytest.raises(UserError, match="2x2 regions of 3 numbers, and the model learned from 3x3"):
        EncodedFeatures(
            encoder, FeatureSource(1.0, 8.0, 8), FeaturesInputConfig(num_steps=2, dim=3)
        )


def test_what_records_do_not_tell_is_asked_for(trained):
    options = ExportOptions(encoder=trained[1])
    with pytest.raises(UserError, match="give --frame_rate_hz"):
        build_signatures(load_run(trained[0]), None, "latest", options)
