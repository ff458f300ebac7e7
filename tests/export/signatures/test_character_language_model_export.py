"""A character language model exported, proven, served and asked: layers as the model has them."""

import json

import numpy as np
import pytest
import tensorflow as tf

import mmstack
from export.client.protocols import GrpcClient, RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures.build import build_signatures
from export.version.options import ExportOptions
from mm_models.errors import UserError
from mm_models.text.word_characters import sentence_characters
from tests import batteries
from tests.export.signatures.run_folder import write_run_folder
from tests.export_battery import check_export
from tests.trainers.tasks.character_language_model.toy_captions import (
    NUM_CHARACTERS,
    make_task,
)
from trainers.config.schema import ExperimentConfig
from trainers.runs import build_model, load_run

SENTENCES = ["A dog, barking", "", "  one two\tthree four \U0001f600 ", "x" * 300]
LENGTHS = [3, 0, 5, 1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    task = make_task()
    config = ExperimentConfig(name="words_tiny", task=task.config, streams=task.streams)
    model = build_model(task, config)
    batteries.shake(model)
    model_dir = write_run_folder(folder, config, model, 3)
    output = str(folder / "words")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}"]) == 0
    return model_dir, output


def check_layers(answer, model):
    """Equal to the layers of each sentence alone; zeros behind it."""
    longest, width = max(LENGTHS), model.config.width
    assert answer["word_emb"].shape == (4, longest, width)
    assert answer["lstm1"].shape == answer["lstm2"].shape == (4, longest, 2 * width)
    assert answer["sequence_len"].tolist() == LENGTHS
    for row, (sentence, length) in enumerate(zip(SENTENCES, LENGTHS, strict=True)):
        characters, _ = sentence_characters(tf.constant([sentence]), NUM_CHARACTERS, length or 1)
        layers = model.read(characters)
        for name in ("word_emb", "lstm1", "lstm2"):
            found, expected = answer[name][row], getattr(layers, name)[0]
            np.testing.assert_allclose(found[:length], expected[1 : length + 1], atol=1e-5)
            assert np.all(found[length:] == 0.0)


def test_served_layers_are_the_models(exported):
    model_dir, output = exported
    run = load_run(model_dir)
    signatures = build_signatures(run, None, "latest", ExportOptions())
    assert list(signatures.docs()) == ["encode_words"]
    request = {"sentences": object_array([text.encode() for text in SENTENCES])}
    with EmbeddedServer([ModelConfig("words", output)]) as server:
        version = server.core.models.get("words")
        check_export(signatures, version)
        first, again = (version.run(version.signatures["encode_words"], request) for _ in "ab")
        for name, value in first.items():
            np.testing.assert_array_equal(value, again[name])
        for kind, port in ((RestClient, server.rest_port), (GrpcClient, server.grpc_port)):
            with kind(f"127.0.0.1:{port}", "words") as client:
                check_layers(client.predict(request, "encode_words"), run.model)
    check_layers(signatures.reference("encode_words", request), run.model)


def test_a_saved_model_is_all_that_is_needed(exported):
    model_dir, output = exported
    loaded = tf.saved_model.load(f"{output}/1").signatures["encode_words"]
    answer = {k: v.numpy() for k, v in loaded(sentences=tf.constant(SENTENCES)).items()}
    assert {name: value.dtype for name, value in answer.items()} == {
        **dict.fromkeys(("word_emb", "lstm1", "lstm2"), np.float32),
        "sequence_len": np.int32,
    }
    check_layers(answer, load_run(model_dir).model)
    (nothing,) = loaded(sentences=tf.constant([""]))["word_emb"].numpy()
    assert nothing.shape == (1, 12) and not np.any(nothing)


def test_predict_writes_the_vectors_of_words(exported, tmp_path, capsys):
    flags = [f"--model_dir={exported[0]}", "--text=a dog barks", f"--output_dir={tmp_path}"]
    assert mmstack.main(["predict", *flags, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["outputs"]
    assert answer["encode_words.sequence_len"] == 3
    assert answer["encode_words.lstm2"] == {"words": 3, "dim": 24}
    assert np.load(tmp_path / "encode_words.lstm2.npy").shape == (3, 24)


def test_there_is_nothing_to_decode(exported):
    options = ExportOptions(decoding={"max_length": 3})
    with pytest.raises(UserError, match="nothing to decode"):
        build_signatures(load_run(exported[0]), None, "latest", options)
