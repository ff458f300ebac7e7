"""Tokenizers that need operation libraries, models with fewer modalities, and remote folders."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.client.string_arrays import object_array
from export.server.loaded import LoadedVersion, read_saved_model
from export.server.models import ModelConfig, Models
from export.server.protocols.metrics import Metrics
from export.server.requests.limits import Limits
from export.signatures import fields
from export.signatures.classification.signatures import ClassificationSignatures
from export.signatures.vatt.signatures import VattSignatures
from export.version import op_policy, saved_model
from export.version.model_info import ModelInfo
from mm_models.backbones.image_classifier import ImageClassifier
from mm_models.backbones.levels.classifier import LevelsClassifier, LevelsClassifierConfig
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.backbones.vit_config import VitConfig
from mm_models.text.tokenizers import build_tokenizer
from mm_models.vatt.config import HeadConfig, VattConfig, named_config
from mm_models.vatt.model import VattModel
from tests.export.tiny_model import write_tiny_model
from trainers import runs
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.video.config import VideoInputConfig

SENTENCES = ("a red seven moves left", "a blue three moves right", "zwei und drei", "la cifra ocho")


def _wordpiece(folder):
    path = folder / "pieces.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "red", "se", "##ven", "a"]) + "\n")
    return str(path)


def _sentencepiece(folder):
    import sentencepiece

    text = folder / "text.txt"
    text.write_text("\n".join(SENTENCES * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "pieces"), vocab_size=30, pad_id=0, unk_id=1,
        bos_id=2, eos_id=3, minloglevel=2,
    )  # fmt: skip
    return str(folder / "pieces.model")


@pytest.mark.parametrize(
    ("kind", "make"), [("wordpiece", _wordpiece), ("sentencepiece", _sentencepiece)]
)
def test_text_operations_are_named_and_loaded(kind, make, tmp_path):
    class Tokens(tf.Module):
        def __init__(self):
            super().__init__()
            self.tokenizer = build_tokenizer(kind, make(tmp_path))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def ids(self, text):
            return {"ids": self.tokenizer.tokenize(text, 6)}

    module = Tokens()
    path = str(tmp_path / "model" / "1")
    tf.saved_model.save(module, path, {"serving_default": module.ids})
    report = op_policy.check_ops(read_saved_model(path), path)
    assert report.libraries == ("tensorflow_text",) and report.custom_ops
    version = LoadedVersion("tokens", 1, path)
    texts = object_array([b"a red seven", b""])
    answer = version.run(version.signature(""), {"text": texts})
    expected = module.tokenizer.tokenize(tf.constant(["a red seven", ""]), 6)
    assert answer["ids"].tolist() == expected.numpy().tolist()
    assert answer["ids"][0].any() and not answer["ids"][1].any()


@pytest.mark.parametrize(
    ("variant", "kind", "spaces"),
    [
        ("specific", "fac", {"video": ["video_va"], "audio": ["audio_va"]}),
        ("agnostic", "mlp_joint", {"video": ["video_va", "video_vt"], "audio": ["audio_va"]}),
    ],
)
def test_models_without_text(variant, kind, spaces):
    debug = named_config("debug" if variant == "specific" else "unified_debug")
    keras.utils.set_random_seed(0)
    model = VattModel(
        VattConfig(
            variant=variant,
            modalities=["video", "audio"],
            video=debug.video,
            audio=debug.audio,
            shared=debug.shared,
            head=HeadConfig(size="debug", kind=kind),
        )
    )
    inputs = InputConfig(
        video=VideoInputConfig(num_frames=4, height=16, width=16, crop="resize"),
        audio=AudioInputConfig(num_samples=1024, sample_rate_hz=8000),
    )
    info = ModelInfo(
        *("vatt", "x", 0, "latest", 8.0, 4, 16, 16, 8000, 1024, 0),
        signatures={},
        tensorflow_version=tf.__version__,
    )
    signatures = VattSignatures(model, inputs, 0.07, info)
    names = {"encode_video", "encode_video_pixels", "encode_audio", "encode_audio_wav"}
    assert set(signatures.docs()) == names | {"feature_maps"}
    assert signatures.default_name == "encode_video"
    for modality, signature in (("video", "encode_video_pixels"), ("audio", "encode_audio")):
        outputs = signatures.reference(signature, signatures.examples()[signature][0])
        assert sorted(outputs) == sorted(signatures.docs()[signature].outputs) == spaces[modality]


def signatures_of_stills(model, multi_label):
    """Of a classifier of stills of 16 x 16 pixels with three classes."""
    video = VideoInputConfig(num_frames=1, height=16, width=16, crop="resize")
    info = ModelInfo(
        *("stills", "x", 0, "latest", 0.0, 0, 0, 0, 0, 0, 0),
        signatures={},
        tensorflow_version=tf.__version__,
        image_height=16,
        image_width=16,
    )
    return ClassificationSignatures(
        model, InputConfig(video=video), ["a", "b", "c"], multi_label, info
    )


def test_a_classifier_of_stills_maps_the_frames_of_clips():
    model = ImageClassifier(VitConfig(size="debug", pool="map", num_classes=3))
    signatures = signatures_of_stills(model, multi_label=False)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 5, 16, 16, 3), dtype=np.uint8)
    maps = signatures.functions()["feature_maps"](tf.constant(frames))["maps"].numpy()
    tokens = model.vision(tf.constant(frames[1], tf.float32) * 2 / 255 - 1).numpy()
    side = model.vision.config.patch_size
    expected = tokens.mean(axis=0).reshape(16 // side, 16 // side, -1)
    np.testing.assert_allclose(maps[1], expected, atol=1e-5)
    # A file fills it as any signature of clips.
    assert signatures.docs()["feature_maps"].input_kinds == {fields.FRAME_PIXELS}


def test_a_classifier_of_levels_is_served_as_any_classifier():
    visual = LevelsConfig(widths=[8, 8], blocks_per_stage=[2, 2], height=16, width=16)
    model = LevelsClassifier(LevelsClassifierConfig(visual=visual, num_classes=3))
    signatures = signatures_of_stills(model, multi_label=True)
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    images = tf.constant(frames, tf.float32) * 2 / 255 - 1
    functions = signatures.functions()
    answer = functions["classify_image_pixels"](tf.constant(frames))
    expected = tf.sigmoid(model({"video": images[:, None]}))
    np.testing.assert_allclose(answer["probability"], expected, atol=1e-5)
    maps = functions["feature_maps"](tf.constant(frames[:, None]))["maps"]
    np.testing.assert_allclose(maps, model.visual.maps(images)["stage2_block2"], atol=1e-5)


def test_a_classifier_of_stills_takes_pictures():
    """No frame rate is needed, and a picture is one row."""

    class Mean(keras.Model):
        modality = "video"

        def call(self, inputs, training=False):
            # [batch, 1, height, width, 3] → one class for each colour
            return tf.reduce_mean(inputs["video"], axis=[1, 2, 3])

    video = VideoInputConfig(num_frames=1, height=8, width=8, crop="resize")
    config = ExperimentConfig(streams={"stills": StreamConfig(input=InputConfig(video=video))})
    config.task = types.SimpleNamespace(name="stills")
    task = types.SimpleNamespace(class_names=["red", "green", "blue"], is_multi_label=False)
    run = runs.Run(config=config, task=task, model=Mean(), step=1, checkpoint="none")
    signatures = ClassificationSignatures.from_run(run, None, "latest")
    assert set(signatures.docs()) == {"classify_image", "classify_image_pixels"}
    assert (signatures.info.num_frames, signatures.info.image_height) == (0, 8)
    green = np.zeros([1, 12, 20, 3], np.uint8)
    green[..., 1] = 255
    answer = signatures.functions()["classify_image_pixels"](tf.constant(green))
    assert answer["top_class"].numpy()[0, 0] == b"green"
    powers = np.exp([-1.0, 1.0, -1.0])
    np.testing.assert_allclose(
        answer["probability"][0], powers / powers.sum(), atol=1e-5, rtol=1e-4
    )


def test_remote_folders(tmp_path):
    """A file system behind a URL: copying a version there and serving it from there."""
    write_tiny_model(tmp_path, 3, offset=5.0)
    remote = "ram://exports/tiny"
    assert saved_model.check_target(remote, None) == 1
    saved_model.publish(str(tmp_path / "3"), remote, 3)
    assert saved_model.check_target(remote, None) == 4
    assert not [name for name in tf.io.gfile.listdir(remote) if name.startswith(".tmp-")]
    models = Models([ModelConfig("tiny", remote)], Limits(), Metrics())
    models.poll()
    assert models.ready, models.states("tiny")
    assert models.get("tiny").number == 3
