"""Fine-tuned classifiers, exported, proven, served and asked, from clips and from sounds."""

import json

import av
import numpy as np
import pytest
import tensorflow as tf

import mmstack
from export.client.protocols import RestClient
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures.classification.signatures import ClassificationSignatures
from export.version import model_card
from mm_models.vatt.config import named_config
from tests.export.signatures.run_folder import write_run_folder
from tests.export_battery import assert_close, check_export
from tests.trainers.record_factory import WORDS, Recipe, write_record_folder
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.runs import build_model, build_task, load_run
from trainers.tasks.vatt.classification import VattClassificationTaskConfig

RATE_HZ = 8000
CLASSIFIERS = [
    ("video", "softmax"),
    pytest.param(("audio", "sigmoid"), marks=pytest.mark.slow),
]


def write_run(folder, modality, loss):
    records = write_record_folder(folder / "records", Recipe(splits={"train": 4}, num_shards=1))
    inputs = InputConfig(
        datasets={"records": DatasetConfig(path=records)}, labels=LabelsInputConfig()
    )
    if modality == "video":
        inputs.video = VideoInputConfig(num_frames=4, height=16, width=16, crop="center")
    else:
        inputs.audio = AudioInputConfig(num_samples=1024, sample_rate_hz=RATE_HZ)
    config = ExperimentConfig(
        name=f"classify_{modality}",
        task=VattClassificationTaskConfig(
            model=named_config("debug"), modality=modality, loss=loss
        ),
        streams={"clips": StreamConfig(input=inputs)},
    )
    task = build_task(config)
    config.task = task.config
    return write_run_folder(folder, config, build_model(task, config), 5)


@pytest.fixture(scope="module", params=CLASSIFIERS)
def exported(request, tmp_path_factory):
    """Modality, run folder and export folder; the command proves the export in a fresh process."""
    modality, loss = request.param
    folder = tmp_path_factory.mktemp(modality)
    model_dir, output = write_run(folder, modality, loss), str(folder / "classifier")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}"]) == 0
    return modality, model_dir, output


def write_video(path, seconds=1.0):
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=RATE_HZ)
        for number in range(round(8 * seconds)):
            pixels = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode())
        tone = np.sin(np.arange(round(RATE_HZ * seconds)) / 5).astype(np.float32)[None]
        for start in range(0, tone.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], "fltp", "mono")
            block.sample_rate, block.pts = RATE_HZ, start
            container.mux(audio.encode(block))
        container.mux(audio.encode())
    return str(path)


def test_served_classes_are_the_models(exported, tmp_path, capsys):
    modality, model_dir, output = exported
    run = load_run(model_dir)
    signatures = ClassificationSignatures.from_run(run, None, "latest")
    card = model_card.model_card("classifier", signatures.info, signatures)
    assert "also one that shows none of them" in card
    with EmbeddedServer([ModelConfig("classifier", output)]) as server:
        version = server.core.models.get("classifier")
        check_export(signatures, version)
        _check_numbers(run, version, modality)
        _check_media(modality, model_dir, server.rest_port, write_video(tmp_path / "a.mp4"), capsys)


def _check_numbers(run, version, modality):
    """Preprocessing by hand, then the model, without the signatures' own code."""
    rng = np.random.default_rng(0)
    if modality == "video":
        frames = rng.integers(0, 256, (2, 6, 16, 22, 3), dtype=np.uint8)
        kept = frames[:, 1:5, :, 3:19].astype(np.float32) * 2 / 255 - 1
        name, request = "classify_video_pixels", {"frames": frames}
    else:
        waveform = rng.uniform(-0.5, 0.5, (2, 1000)).astype(np.float32)
        kept = np.concatenate([waveform, waveform[:, :24]], axis=1)
        name, request = "classify_audio", {"waveform": waveform}
    logits = run.model({modality: tf.constant(kept)}, training=False).numpy().astype(np.float64)
    powers = np.exp(logits)
    expected = powers / powers.sum(axis=1, keepdims=True)
    expected = expected if modality == "video" else powers / (1 + powers)
    answer = version.run(version.signature(name), request)
    assert_close(answer["probability"], expected.astype(np.float32))
    order = np.argsort(-expected, axis=1)[:, :5]
    assert [[word.decode() for word in row] for row in answer["top_class"]] == [
        [WORDS[index] for index in row] for row in order
    ]
    best = np.take_along_axis(expected, order, axis=1)
    assert_close(answer["top_probability"], best.astype(np.float32))


def _check_media(modality, model_dir, port, media, capsys):
    """One file through `predict`, and posted to the server by `query`: the same classes."""
    signature = "classify_video" if modality == "video" else "classify_audio"
    commands = {
        "predict": ["predict", f"--model_dir={model_dir}"],
        "query": ["query", f"--address=127.0.0.1:{port}", "--name=classifier"],
    }
    found = {}
    for name, command in commands.items():
        capsys.readouterr()
        assert mmstack.main([*command, f"--video={media}", "--json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)["outputs"]
        assert mmstack.main([*command, f"--video={media}"]) == 0
        table = capsys.readouterr().out
        best = found[name][f"{signature}.top_class"]
        places = [table.index(f"\n{word} ") for word in best]
        assert len(best) == 5 and places == sorted(places)
    assert found["predict"].keys() == found["query"].keys()
    for key, value in found["predict"].items():
        if key.endswith(("top_class", "maps")):  # Of maps JSON tells the size.
            assert value == found["query"][key]
        else:
            np.testing.assert_allclose(value, found["query"][key], atol=1e-5, rtol=1e-4)
    with RestClient(f"127.0.0.1:{port}", "classifier") as client:
        assert set(client.output_names(signature)) == {
            "probability", "top_class", "top_probability",
        }  # fmt: skip
