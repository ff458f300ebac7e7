"""A debug VATT model, exported, proven, served, asked and documented."""

import dataclasses
import io
import json
import os
import re
import shutil

import av
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mmstack
from beam_pipelines.record import contract, reading
from export import media_files
from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.client.string_arrays import object_array
from export.doctor.export_folder import check_export as check_export_folder
from export.doctor.findings import Level
from export.doctor.run_folder import check_run
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures.shared import samples
from export.signatures.vatt.signatures import VattSignatures
from export.version import layout, saved_model, validate
from export.version.model_info import read_model_info
from export.version.run_facts import stored_frame_rate_hz
from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer
from tests.export.signatures.vatt_model import write_run
from tests.export_battery import assert_close, check_export, unit_length
from trainers.runs import load_run


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run(model_dir):
    return load_run(model_dir)


@pytest.fixture(scope="module")
def signatures(run):
    return VattSignatures.from_run(run, None, "latest")


@pytest.fixture(scope="module")
def export_dir(model_dir, tmp_path_factory):
    """Written by the command itself, proof in a fresh process included."""
    folder = str(tmp_path_factory.mktemp("export") / "vatt")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def vatt_server(export_dir):
    with EmbeddedServer([ModelConfig("vatt", export_dir)]) as server:
        yield server


@pytest.fixture(scope="module")
def version(vatt_server):
    return vatt_server.core.models.get("vatt")


@pytest.fixture(scope="module")
def clients(vatt_server):
    with (
        RestClient(f"127.0.0.1:{vatt_server.rest_port}", "vatt") as rest,
        GrpcClient(f"127.0.0.1:{vatt_server.grpc_port}", "vatt") as grpc_client,
    ):
        yield [rest, grpc_client]


def test_battery(signatures, version):
    check_export(signatures, version)


def test_served_answers_equal_the_checkpoint(signatures, clients):
    for name, requests in signatures.examples().items():
        expected = signatures.reference(name, requests[1])
        for client in clients:
            answer = client.predict(requests[1], name)
            assert set(answer) == set(expected)
            for key, value in expected.items():
                if value.dtype == object:
                    got = [v if isinstance(v, bytes) else v.encode() for v in answer[key].tolist()]
                    assert got == value.tolist()
                else:
                    assert_close(answer[key], value)


def test_embeddings_against_the_model_itself(run, version):
    """Preprocessing by hand in NumPy, then the model, without the signatures' own code."""
    model, inputs = run.model, run.config.streams["main"].input
    rng = np.random.default_rng(0)
    size, length = inputs.video.height, inputs.video.num_frames
    frames = rng.integers(0, 256, (2, length + 3, size, size + 6, 3), dtype=np.uint8)
    kept = frames[:, 1 : 1 + length, :, 3 : 3 + size].astype(np.float32) * 2 / 255 - 1
    outputs = model({"video": tf.constant(kept)}, training=False)
    expected = outputs["video_vt"].numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    answer = version.run(version.signature("encode_video_pixels"), {"frames": frames})
    np.testing.assert_allclose(answer["video_vt"], expected, atol=1e-5, rtol=1e-4)
    unit_length(answer)

    waveform = rng.uniform(-0.5, 0.5, (2, inputs.audio.num_samples - 100)).astype(np.float32)
    cyclic = np.concatenate([waveform, waveform[:, :100]], axis=1)
    outputs = model({"audio": tf.constant(cyclic)}, training=False)["audio_va"].numpy()
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    answer = version.run(version.signature("encode_audio"), {"waveform": waveform})
    np.testing.assert_allclose(answer["audio_va"], outputs, atol=1e-5, rtol=1e-4)

    tokenizer = build_tokenizer("word", inputs.text.vocabulary)
    ids = tokenizer.tokenize(
        tf.constant(["A green digit!", "nobody knows"]), inputs.text.num_tokens
    )
    outputs = model({"text": ids[:, None]}, training=False)["text_vt"].numpy()[:, 0]
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    texts = object_array([b"A green digit!", b"nobody knows"])
    answer = version.run(version.signature("encode_text"), {"text": texts})
    np.testing.assert_allclose(answer["text_vt"], outputs, atol=1e-5, rtol=1e-4)


def test_feature_maps_are_the_models_own(run, version):
    inputs = run.config.streams["main"].input
    size, length = inputs.video.height, inputs.video.num_frames
    shape = (2, length + 3, size, size + 6, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    kept = frames[:, 1 : 1 + length, :, 3 : 3 + size].astype(np.float32) * 2 / 255 - 1
    expected = run.model.feature_maps(tf.constant(kept)).numpy()
    answer = version.run(version.signature("feature_maps"), {"video": frames})
    assert_close(answer["maps"], expected)


def test_an_export_is_an_encoder_for_records(run, model_dir, export_dir, tmp_path):
    """`mmstack features` with the numbered versions of an export."""
    records = run.config.streams["main"].input.datasets["records"].path
    paths = [f"--records={records}", f"--encoder={export_dir}", f"--output={tmp_path}/out"]
    assert mmstack.main(["features", *paths, "--rows=1", "--columns=2", "--keep_frames"]) == 0
    context, lists = next(reading.iterate(f"{tmp_path}/out", "train"))
    assert context[contract.FEATURE_ENCODER][0].startswith(b"vatt/1@")
    inputs = run.config.streams["main"].input
    frames = [media_files.picture_pixels(frame[0]) for frame in lists[contract.FRAMES][:8]]
    start, size = (8 - inputs.video.num_frames) // 2, inputs.video.height
    kept = tf.stack(frames[start : start + inputs.video.num_frames])
    fitted = tf.image.resize(kept, [size, size]) * 2 / 255 - 1
    maps = run.model.feature_maps(fitted[tf.newaxis]).numpy()[0]
    half = maps.shape[1] // 2
    expected = [maps[:, :half].mean(axis=(0, 1)), maps[:, half:].mean(axis=(0, 1))]
    assert_close(np.array(lists[contract.CLIP_FEATURES][0]).reshape(2, -1), np.stack(expected))


def test_similarity_is_the_dot_product_and_probability_its_softmax(run, signatures):
    request = signatures.examples()["similarity_video"][1]
    answer = signatures.reference("similarity_video", request)
    video = signatures.reference("encode_video", {"frames_jpeg": request["frames_jpeg"]})
    for row, texts in enumerate(request["texts"]):
        text = signatures.reference("encode_text", {"text": texts})
        expected = text["text_vt"] @ video["video_vt"][row]
        np.testing.assert_allclose(answer["similarity"][row], expected, atol=1e-5, rtol=1e-4)
        scores = np.exp(expected / run.config.task.temperature)
        np.testing.assert_allclose(answer["probability"][row], scores / scores.sum(), atol=1e-4)


def test_frames_of_any_size_and_number_and_grey_ones(version):
    stream = io.BytesIO()
    Image.new("L", (31, 90), 120).save(stream, "JPEG")
    frames = media_files.jpeg_frames(samples.moving_square(1, 40, 17))
    mixed = object_array([*frames, stream.getvalue()])[None]
    answer = version.run(version.signature("encode_video"), {"frames_jpeg": mixed})
    unit_length(answer)
    wav = object_array([media_files.wav_file(samples.chirp(77, 8000), 8000)])
    unit_length(version.run(version.signature("encode_audio_wav"), {"wav_bytes": wav}))
    unit_length(
        version.run(version.signature("encode_text"), {"text": object_array([b"", b"\xff"])})
    )


def test_contents_that_cannot_be_decoded_are_refused(clients, signatures):
    frames = media_files.jpeg_frames(samples.moving_square(4, 16, 16))
    cut = object_array([frames[0][:200], *frames[1:]])[None]
    wrong_rate = object_array([media_files.wav_file(samples.chirp(100, 8000), 16000)])
    for client in clients:
        with pytest.raises(RequestFailed, match="(?i)jpeg"):
            client.predict({"frames_jpeg": cut}, "encode_video")
        with pytest.raises(RequestFailed, match="8000 Hz"):
            client.predict({"wav_bytes": wrong_rate}, "encode_audio_wav")
        with pytest.raises(RequestFailed, match="(?i)wav"):
            client.predict({"wav_bytes": object_array([b"RIFF?"])}, "encode_audio_wav")


def test_documented_examples_run(version, vatt_server, monkeypatch, capsys):
    docs = os.path.join(version.path, layout.ASSETS_EXTRA, layout.SIGNATURE_DOCS_FILE)
    with open(docs, encoding="utf-8") as file:
        text = file.read()
    assert all(f"## `{name}`" in text for name in version.signatures if name != "serving_default")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    code = code.replace("localhost:8501", f"127.0.0.1:{vatt_server.rest_port}")
    code = code.replace("localhost:8500", f"127.0.0.1:{vatt_server.grpc_port}")
    monkeypatch.chdir(version.path)
    exec(compile(code, "signatures.md", "exec"), {})
    assert capsys.readouterr().out.count("similarity") == 3


@pytest.mark.slow
def test_the_proof_fails_for_other_weights(version, tmp_path):
    copy = tmp_path / "1"
    shutil.copytree(version.path, copy)
    stored = dict(np.load(copy / "assets.extra" / "golden.npz"))
    key = next(key for key in stored if key.endswith("|out|video_vt"))
    stored[key] = stored[key] + np.float32(2e-5)
    np.savez(copy / "assets.extra" / "golden.npz", **stored)
    with pytest.raises(UserError, match="video_vt"):
        validate.prove(str(copy), [])


def test_versions_are_numbered_and_never_overwritten(export_dir, version):
    base_path = export_dir
    assert saved_model.check_target(base_path, None) == 2
    with pytest.raises(UserError, match="already holds version 1"):
        saved_model.check_target(base_path, 1)
    with pytest.raises(UserError, match="cannot be written"):
        saved_model.check_target(os.path.join(version.path, "saved_model.pb", "x"), None)


def test_model_info(version, signatures):
    info = read_model_info(version.path)
    assert (info.system, info.step, info.frame_rate_hz) == ("vatt", 7, 8.0)
    encode = info.signatures["encode_video"]
    assert [field.kind for field in encode.inputs.values()] == ["encoded_frames"]
    assert {name: field.kind for name, field in encode.outputs.items()} == {
        "video_va": "embedding",
        "video_vt": "embedding",
    }
    assert info.signatures == signatures.docs()
    assert info.op_libraries == []


def test_frame_rate_must_be_known(run):
    inputs = run.config.streams["main"].input
    elsewhere = {"records": dataclasses.replace(inputs.datasets["records"], path="/nowhere")}
    with pytest.raises(UserError, match="--frame_rate_hz"):
        stored_frame_rate_hz(dataclasses.replace(inputs, datasets=elsewhere))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A second of a moving square with a tone, as MP4."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = samples.moving_square(8, 48, 64)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8, width=64, height=48, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=8000, layout="mono")
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(
            samples.chirp(8000, 8000)[None], format="fltp", layout="mono"
        )
        sound.sample_rate = 8000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return str(path)


TEXTS = ["a green digit moves", "something else"]
TEXT_FLAGS = [f"--text={text}" for text in TEXTS]


def _answers(capsys, *words):
    assert mmstack.main(list(words)) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])["outputs"]


def test_query_predict_and_posted_media_agree(clip, export_dir, model_dir, vatt_server, capsys):
    """The same clip by three ways: decoded here, decoded by the server, and without a server."""
    rest = f"--address=127.0.0.1:{vatt_server.rest_port}"
    grpc_address = f"--address=127.0.0.1:{vatt_server.grpc_port}"
    common = [f"--video={clip}", *TEXT_FLAGS, "--json"]
    here = _answers(capsys, "query", *common, rest, f"--export_dir={export_dir}")
    by_grpc = ["--protocol=grpc", grpc_address, f"--export_dir={export_dir}"]
    over_grpc = _answers(capsys, "query", *common, *by_grpc)
    there = _answers(capsys, "query", *common, rest, "--name=vatt")
    without = _answers(capsys, "predict", *common, f"--model_dir={model_dir}")
    expected = {"encode_video.video_vt", "similarity_video.probability", "encode_audio.audio_va"}
    assert expected | {"similarity_audio.similarity"} <= set(here)
    for other in (over_grpc, there, without):
        assert set(other) == set(here)
        # Of maps JSON tells the size.
        sizes = other.pop("feature_maps.maps")
        assert sizes == here["feature_maps.maps"] == {"rows": 2, "columns": 2, "dim": 32}
        for key, value in here.items():
            if key == "feature_maps.maps":
                continue
            np.testing.assert_allclose(other[key], value, atol=1e-5, rtol=1e-4, err_msg=key)


def test_query_prints_a_table(clip, export_dir, vatt_server, capsys):
    address = f"--address=127.0.0.1:{vatt_server.rest_port}"
    words = ["query", f"--video={clip}", *TEXT_FLAGS, address, f"--export_dir={export_dir}"]
    assert mmstack.main(words) == 0
    table = capsys.readouterr().out
    assert "similarity  probability" in table and TEXTS[0] in table


def test_posted_garbage_is_refused(vatt_server):
    with RestClient(f"127.0.0.1:{vatt_server.rest_port}", "vatt") as rest:
        for garbage in (b"no media at all" * 50, b"\x00\x00\x00\x20ftypisom" + b"\x00" * 400):
            with pytest.raises(RequestFailed) as error:
                rest.predict_media(garbage, TEXTS)
            assert error.value.status == 400
            assert "the posted file" in str(error.value) and "/tmp" not in str(error.value)
        assert rest.status()["model_version_status"][0]["state"] == "AVAILABLE"


def test_doctor_finds_nothing_wrong(model_dir, export_dir):
    findings = [*check_run(model_dir), *check_export_folder(export_dir, proof=False)]
    assert [finding for finding in findings if finding.level is Level.PROBLEM] == []
