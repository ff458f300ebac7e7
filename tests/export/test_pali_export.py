"""PaLI exported, proven, served and asked over REST and gRPC: the checkpoint's own strings."""

import numpy as np
import pytest
import tensorflow as tf

import mmstack
from export.arrays import object_array
from export.client import GrpcClient, RestClient
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures import preprocessing
from export.signatures.pali import NUM_BEAMS, PaliSignatures
from mm_models.backbones.t5_config import T5Config
from mm_models.backbones.vit_config import VitConfig
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.pali.config import PaliConfig
from tests.export_battery import check_export
from tests.trainers.data import prompted_records
from trainers.config import ExperimentConfig, StreamConfig, to_yaml
from trainers.runs import build_model, build_task, load_run
from trainers.tasks.pali import PaliTaskConfig

PROMPTS = [
    "Answer in EN: what colour? <extra_id_0>",
    "Generate the alt_text in DE at 0: <extra_id_0>",
]
LABELS = ["red", "blue", "das Bild zeigt"]


def write_run(folder):
    records = prompted_records.write_folder(folder / "records", {"train": 6})
    sizes = {"num_input_tokens": 24, "num_target_tokens": 6}

    def stream(tasks, **parts):
        return StreamConfig(
            input=prompted_records.input_config(records, tasks, batch_size=2, **sizes, **parts)
        )

    model = PaliConfig(
        size="debug",
        vision=VitConfig(size="", image_size=16),
        language=T5Config(size="", vocabulary_size=512),
    )
    config = ExperimentConfig(
        name="pali_tiny",
        task=PaliTaskConfig(model=model),
        streams={
            "stills": stream({"captioning": 1, "vqa": 1}, video=prompted_records.video()),
            "text": stream({"span_corruption": 1}),
        },
    )
    task = build_task(config)
    run = folder / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    step = tf.Variable(3, dtype=tf.int64, trainable=False)
    checkpoint = tf.train.Checkpoint(model=build_model(task, config), step=step)
    tf.train.CheckpointManager(checkpoint, str(run / "checkpoints"), 1).save(3)
    return str(run)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pali")
    model_dir, output = write_run(folder), str(folder / "pali")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}"]) == 0
    return model_dir, output


def test_served_texts_are_the_models(exported):
    model_dir, output = exported
    run = load_run(model_dir)
    signatures = PaliSignatures.from_run(run, None, "latest")
    assert signatures.default_name == "generate"
    pixels = np.random.default_rng(0).integers(0, 256, [2, 16, 16, 3], dtype=np.uint8)
    request = {
        "image_jpeg": object_array([tf.io.encode_jpeg(one, quality=100).numpy() for one in pixels]),
        "prompt": object_array([prompt.encode() for prompt in PROMPTS]),
    }
    with EmbeddedServer([ModelConfig("pali", output)]) as server:
        version = server.core.models.get("pali")
        check_export(signatures, version)
        expected = _by_hand(run.model, signatures, request)
        with RestClient(f"127.0.0.1:{server.rest_port}", "pali") as client:
            _check_answers(client, request, expected)
        with GrpcClient(f"127.0.0.1:{server.grpc_port}", "pali") as client:
            _check_answers(client, request, expected)


def _by_hand(model, signatures, request):
    """The model as evaluation uses it."""
    tokenizer = signatures.module.tokenizer
    encoded = tf.constant(request["image_jpeg"])[:, tf.newaxis]
    video = preprocessing.video_from_jpeg(encoded, 1, 16, 16, "resize")
    inputs = {"video": video, "inputs": tokenizer.tokenize(request["prompt"], 24, end=True)}
    found = {}
    for method in ("greedy", "beam"):
        config = DecodingConfig(method=method, max_length=6, num_beams=NUM_BEAMS)
        state = model.start_decoding(inputs, 6, config.beams)
        starts = tf.zeros([2], tf.int32)
        found[method] = decode(config, model.decode_step, state, starts, model.end_id)
    labels = tokenizer.tokenize(tf.constant(LABELS), 6, end=True)
    found["labels"] = model.score(inputs, labels).numpy()
    found["text"] = tokenizer.detokenize(found["greedy"].ids).numpy()
    found["texts"] = tokenizer.detokenize(found["beam"].ids).numpy()
    return found


def _check_answers(client, request, expected):
    answer = client.predict(request, "generate")
    assert _strings(answer["text"]) == _strings(expected["text"])
    np.testing.assert_allclose(answer["score"], expected["greedy"].scores, atol=1e-4)
    answer = client.predict(request, "generate_beams")
    assert _strings(answer["text"]) == _strings(expected["texts"])
    np.testing.assert_allclose(answer["score"], expected["beam"].scores, atol=1e-4)
    labels = object_array([label.encode() for label in LABELS])
    answer = client.predict({**request, "labels": np.stack([labels] * 2)}, "score_labels")
    np.testing.assert_allclose(answer["log_likelihood"], expected["labels"], atol=1e-4)
    best = [LABELS[index] for index in expected["labels"].argmax(axis=1)]
    assert _strings(answer["best_label"]) == [label.encode() for label in best]


def _strings(values):
    flat = np.asarray(values, object).ravel()
    return [one if isinstance(one, bytes) else one.encode() for one in flat]
