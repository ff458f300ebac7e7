"""A small IMP model with experts, exported, proven, served, asked and documented."""

import dataclasses
import json
import os
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mmstack
from export import media_files
from export.client.protocols import RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer
from export.server.loaded import LoadedVersion
from export.server.models import ModelConfig
from export.signatures.imp import signatures as imp
from export.signatures.imp.inputs import ClassHead, class_heads, largest_inputs
from export.signatures.shared import samples
from export.version import layout
from export.version.model_info import read_model_info
from mm_models.errors import UserError
from mm_models.imp.config import WaveformConfig
from mm_models.imp.model import ImpModel
from mm_models.text import label_prompts
from mm_models.text.tokenizers import build_tokenizer
from tests.export.signatures.imp_model import RATE_HZ, WORDS, experiment, model_config, write_run
from tests.export_battery import assert_close, check_export, unit_length
from trainers import runs
from trainers.evaluation.places.record_set import embed_records

TEXTS = ["a green digit", "three moves"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run(model_dir):
    return runs.load_run(model_dir)


@pytest.fixture(scope="module")
def signatures(run):
    return imp.ImpSignatures.from_run(run, None, "latest")


@pytest.fixture(scope="module")
def export_dir(model_dir, tmp_path_factory):
    """Written by the command itself, proof in a fresh process included."""
    folder = str(tmp_path_factory.mktemp("export") / "imp")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def version(export_dir):
    return LoadedVersion("imp", 1, f"{export_dir}/1")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    Image.fromarray(samples.moving_square(3, 40, 60)[1]).save(folder / "still.png")
    (folder / "sound.wav").write_bytes(media_files.wav_file(samples.chirp(4000, RATE_HZ), RATE_HZ))
    return folder


def unit(values):
    values = np.asarray(values, np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def embed_texts(run, sentences, output):
    """float64[sentences, dim] by the tokenizer and the model, without the signatures' code."""
    text = run.config.streams["stills"].input.text
    ids = build_tokenizer("word", text.vocabulary).tokenize(tf.constant(sentences), text.num_tokens)
    return unit(run.model({"text": ids}, training=False)[output])


def test_battery(signatures, version):
    names = {"encode_image", "encode_image_pixels", "encode_video", "encode_video_pixels"}
    names |= {"encode_audio", "encode_audio_wav", "encode_text"}
    names |= {f"similarity_{kind}" for kind in ("image", "video", "audio")}
    names |= {f"classify_{kind}_with_labels" for kind in ("image", "video", "audio")}
    assert set(signatures.docs()) == {
        *names,
        "classify_image",
        "classify_audio",
    }
    check_export(signatures, version)


def test_embeddings_against_the_model_itself(run, version):
    def check(signature, request, modality, inputs, patch="default"):
        expected = run.model.embed({modality: tf.constant(inputs)}, patch=patch)
        answer = version.run(version.signature(signature), request)
        others = {f"{modality}_to_{other}" for other in ("video", "audio", "text")}
        assert set(answer) == others
        for name in others:
            np.testing.assert_allclose(answer[name], unit(expected[name]), atol=1e-5, rtol=1e-4)
        unit_length(answer)

    frames = pixels(3, 6, 16, 22)
    kept = frames[:, 1:5, :, 3:19].astype(np.float32) * 2 / 255 - 1
    check("encode_video_pixels", {"frames": frames}, "video", kept)
    image = pixels(3, 24, 24)
    still = image[:, None].astype(np.float32) * 2 / 255 - 1
    check("encode_image_pixels", {"image": image}, "video", still, "fine")
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 3000)).astype(np.float32)
    cyclic = np.concatenate([waveform, waveform[:, :1096]], axis=1)
    check("encode_audio", {"waveform": waveform}, "audio", cyclic)
    texts = object_array([text.encode() for text in TEXTS])
    answer = version.run(version.signature("encode_text"), {"text": texts})
    for name, value in answer.items():
        np.testing.assert_allclose(value, embed_texts(run, TEXTS, name), atol=1e-5, rtol=1e-4)


def test_labels_are_means_of_their_sentences(run, version):
    image = pixels(2, 24, 24)
    jpeg = object_array([media_files.jpeg_frames(row[None])[0] for row in image])
    labels = ["three", "a seven", "nine"]
    encoded = object_array([label.encode() for label in labels])
    request = {"image_jpeg": jpeg, "labels": np.stack([encoded, encoded[::-1]])}
    answer = version.run(version.signature("classify_image_with_labels"), request)
    place = version.run(version.signature("encode_image"), {"image_jpeg": jpeg})["video_to_text"]
    templates = label_prompts.evaluation_prompts("image")
    directions = np.stack(
        [
            embed_texts(run, [t.replace("{}", label) for t in templates], "text_to_video").mean(0)
            for label in labels
        ]
    )
    similarity = place @ unit(directions).T
    similarity[1] = similarity[1, ::-1]
    np.testing.assert_allclose(answer["similarity"], similarity, atol=1e-5, rtol=1e-4)
    scores = np.exp(similarity / float(run.model.temperature("video", "text")))
    expected = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answer["probability"], expected, atol=1e-5, rtol=1e-4)
    best = [[labels, labels[::-1]][row][similarity[row].argmax()] for row in range(2)]
    assert [name.decode() for name in answer["best_label"]] == best


def test_trained_classifiers(run, version):
    waveform = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 4096)).astype(np.float32)
    answer = version.run(version.signature("classify_audio"), {"waveform": waveform})
    pooled = run.model.encode({"audio": tf.constant(waveform)}).pooled["audio"]
    logits = run.model.classify(pooled, "digits").numpy()
    np.testing.assert_allclose(
        answer["probability"], 1 / (1 + np.exp(-logits)), atol=1e-5, rtol=1e-4
    )
    best = np.argsort(-logits, axis=1)[:, :5]
    assert answer["top_class"].tolist() == [[WORDS[i].encode() for i in row] for row in best]


def test_experts_see_one_row_at_a_time(run):
    """Also where they compete over the batch in the run's own evaluation."""
    experts = dataclasses.replace(model_config().experts, eval_group="batch", capacity_factor=0.5)
    model = ImpModel(model_config(experts=experts))
    inputs = largest_inputs(run.task, run.config.streams)
    info = imp.ImpSignatures.from_run(run, None, "latest").info
    heads = class_heads(run.task, run.config.streams)
    exported = imp.ImpSignatures(model, inputs, heads, info)
    encode = exported.functions()["encode_image_pixels"]
    image = tf.constant(pixels(4, 24, 24))
    whole = encode(image)["video_to_text"].numpy()
    alone = np.concatenate([encode(image[row : row + 1])["video_to_text"] for row in range(4)])
    assert_close(whole, alone)
    stills = tf.cast(image[:, None], tf.float32) * 2 / 255 - 1
    together = model.embed({"video": stills}, patch="fine")
    assert np.abs(unit(together["video_to_text"]) - whole).max() > 1e-4


def test_each_kind_has_the_largest_input_of_the_streams(run, version):
    info = read_model_info(version.path)
    assert (info.system, info.step, info.frame_rate_hz) == ("imp", 9, 8.0)
    assert (info.num_frames, info.height, info.width) == (4, 16, 16)
    assert (info.image_height, info.image_width) == (24, 24)
    assert (info.num_samples, info.num_tokens) == (4096, 8)
    card = os.path.join(version.path, layout.ASSETS_EXTRA, layout.MODEL_CARD_FILE)
    with open(card, encoding="utf-8") as file:
        assert "Stills: seen at 24 x 24 pixels" in file.read()
    config = experiment("records", "words")
    config.streams["stills"].input.text.vocabulary = "other words"
    task = types.SimpleNamespace(objective=lambda name: None)
    with pytest.raises(UserError, match="input.text.vocabulary"):
        largest_inputs(task, config.streams)
    with pytest.raises(UserError, match="no streams"):
        largest_inputs(task, {})


def test_a_model_of_sounds_alone(run):
    streams = {"sounds": run.config.streams["sounds"]}
    inputs = largest_inputs(run.task, streams)
    assert (inputs.still, inputs.config.video, inputs.patches) == (None, None, {})
    longer = WaveformConfig(table_rows=32)
    raw = ImpModel(model_config(modalities=["waveform", "text"], waveform=longer))
    info = dataclasses.replace(
        imp.ImpSignatures.from_run(run, None, "latest").info, num_frames=0, image_height=0
    )
    exported = imp.ImpSignatures(raw, inputs, [], info)
    assert set(exported.docs()) == {
        "encode_audio", "encode_audio_wav", "encode_text", "similarity_audio",
        "classify_audio_with_labels",
    }  # fmt: skip
    small = {"waveform": np.zeros((1, 500), np.float32)}
    assert set(exported.reference("encode_audio", small)) == {
        "waveform_to_waveform", "waveform_to_text",
    }  # fmt: skip
    assert exported.compared("waveform", "waveform") == ("waveform_to_text",) * 2
    assert "trained to agree: audio-text;" in exported.caution
    heads = [ClassHead(name, "audio", ("a", "b"), False) for name in ("digits", "birds")]
    several = set(imp.ImpSignatures(raw, inputs, heads, info).docs()) - set(exported.docs())
    assert several == {"classify_audio_as_digits", "classify_audio_as_birds"}


@pytest.mark.slow
def test_predict_and_served_queries_agree(model_dir, export_dir, media, capsys):
    with EmbeddedServer([ModelConfig("imp", export_dir)]) as server:
        _check_served(model_dir, server.rest_port, media, capsys)


def _check_served(model_dir, rest_port, media, capsys):
    rest = [f"--address=127.0.0.1:{rest_port}", "--name=imp"]
    asked = [f"--text={text}" for text in TEXTS]
    expected = {
        "still.png": {"encode_image.video_to_text", "similarity_image.probability",
                      "classify_image.top_class"},
        "sound.wav": {"encode_audio.audio_to_video", "similarity_audio.similarity",
                      "classify_audio.probability"},
    }  # fmt: skip
    for name, keys in expected.items():
        found = []
        for command in (["predict", f"--model_dir={model_dir}"], ["query", *rest]):
            capsys.readouterr()
            assert mmstack.main([*command, f"--media={media / name}", *asked, "--json"]) == 0
            found.append(json.loads(capsys.readouterr().out)["outputs"])
        assert keys <= set(found[0]) == set(found[1])
        for key, value in found[0].items():
            if not key.endswith("top_class"):
                np.testing.assert_allclose(value, found[1][key], atol=1e-5, rtol=1e-4, err_msg=key)
    assert mmstack.main(["query", *rest, f"--media={media}/still.png", *asked]) == 0
    table = capsys.readouterr().out
    assert "similarity  probability" in table and "probability\n" in table
    with RestClient(rest[0].partition("=")[2], "imp") as client:
        assert "similarity" in client.output_names("similarity_video")


def test_predict_ranks_labels_and_finds_records(model_dir, run, media, capsys):
    records = f"{model_dir}/../records"
    words = ["--label=three", "--label=seven", "--prompt={}", "--prompt=a digit {}"]
    flags = [f"--media={media}/still.png", *words, "--text=three", f"--records={records}"]
    command = ["predict", f"--model_dir={model_dir}", *flags, "--top=3", "--json"]
    answers = {}
    for by in ("image", "audio"):
        assert mmstack.main([*command, f"--by={by}"]) == 0
        answers[by] = json.loads(capsys.readouterr().out)
    still = np.array(answers["image"]["outputs"]["encode_image.video_to_text"])
    three = embed_texts(run, ["three", "a digit three"], "text_to_video").mean(axis=0)
    ranked = {entry["label"]: entry for entry in answers["image"]["labels"]["image"]}
    assert ranked["three"]["similarity"] == pytest.approx(unit(three) @ still, abs=1e-5)
    difference = ranked["three"]["similarity"] - ranked["seven"]["similarity"]
    odds = ranked["three"]["probability"] / ranked["seven"]["probability"]
    temperature = float(run.model.temperature("video", "text"))
    assert np.log(odds) == pytest.approx(difference / temperature, abs=1e-4)
    # Records as stills and as sounds: other inputs, so other cosines.
    nearest = {by: [e["cosine"] for e in a["nearest"]["image"]] for by, a in answers.items()}
    assert all(len(cosines) == 3 == len(set(cosines)) for cosines in nearest.values())
    assert nearest["image"] != nearest["audio"]
    inputs = largest_inputs(run.task, run.config.streams)
    as_stills = dataclasses.replace(inputs.config, video=inputs.still)
    found = embed_records(run.model, as_stills, records, "test", modality="video", patch="fine")
    cosines = np.sort(found.embeddings["video_to_text"] @ still)[::-1]
    np.testing.assert_allclose(nearest["image"], cosines[:3], atol=1e-5, rtol=1e-4)
    by_text = [entry["cosine"] for entry in answers["image"]["nearest"]['"three"']]
    text = embed_texts(run, ["three"], "text_to_video")[0]
    best = np.sort(found.embeddings["video_to_text"] @ text)[::-1]
    np.testing.assert_allclose(by_text, best[:3], atol=1e-5, rtol=1e-4)
