"""PaLI exported, proven, served and asked over REST and gRPC: the checkpoint's own strings."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mmstack
from export.client.protocols import GrpcClient, RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer
from export.server.loaded import LoadedVersion
from export.server.models import ModelConfig
from export.signatures.build import build_signatures
from export.signatures.pali.signatures import PaliSignatures
from export.signatures.shared import preprocessing
from export.version.options import ExportOptions
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.errors import UserError
from mm_models.grounding.text_branch import both_ends
from mm_models.layers.transformer.block_inputs import BlockInputs
from mm_models.text.encoders.word_encoder import FrozenWordEncoder
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from tests.export.signatures.run_folder import write_run_folder
from tests.export_battery import check_export
from tests.trainers.data import prompted_records
from tests.trainers.tasks.pali import pali_parts
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.runs import build_model, build_task, load_run
from trainers.tasks.pali.task import PaliTaskConfig

PROMPTS = [
    "Answer in EN: what colour? <extra_id_0>",
    "Generate the alt_text in DE at 0: <extra_id_0>",
]
LABELS = ["red", "blue", "das Bild zeigt"]
# The third has a word without pieces; the fourth has more pieces than the model reads.
SENTENCES = ["the red three", "", "red \u200b\tblau ", "das Bild zeigt " * 9]
WORDS_READ = [3, 0, 3, 5]


def write_run(folder):
    records = prompted_records.write_folder(folder / "records", {"train": 6})
    sizes = {"num_input_tokens": 24, "num_target_tokens": 6}

    def stream(tasks, **parts):
        return StreamConfig(
            input=prompted_records.input_config(records, tasks, batch_size=2, **sizes, **parts)
        )

    config = ExperimentConfig(
        name="pali_tiny",
        task=PaliTaskConfig(model=pali_parts.small_model()),
        streams={
            "stills": stream({"captioning": 1, "vqa": 1}, video=prompted_records.video()),
            "text": stream({"span_corruption": 1}),
        },
    )
    task = build_task(config)
    return write_run_folder(folder, config, build_model(task, config), 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pali")
    model_dir, output = write_run(folder), str(folder / "pali")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}"]) == 0
    return model_dir, output


def test_served_texts_are_the_models(exported, tmp_path, capsys):
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
        _check_commands(exported, server, tmp_path, capsys)
    card = (pathlib.Path(output) / "1/assets.extra/README.md").read_text()
    assert "method greedy, max_length 6," in card and "num_beams 4, length_penalty t5x" in card
    assert "- Prompts ask in en (EN)" in card


def _check_commands(exported, server, folder, capsys):
    """A picture and a prompt by `predict`, and by `query` over REST, gRPC and the media route."""
    model_dir, output = exported
    Image.new("RGB", (20, 12), (200, 30, 40)).save(folder / "red.png")
    asked = [f"--image={folder}/red.png", "--prompt=Answer in {lang}: what? <extra_id_0>"]
    asked += ["--language=en", *(f"--label={label}" for label in LABELS)]
    query = ["query", f"--address=127.0.0.1:{server.rest_port}"]
    over_grpc = ["query", f"--address=127.0.0.1:{server.grpc_port}", "--protocol=grpc"]
    local = [f"--export_dir={output}"]
    commands = (["predict", f"--model_dir={model_dir}"], [*query, *local], [*over_grpc, *local],
                [*query, "--name=pali"])  # fmt: skip

    def answers(*words):
        capsys.readouterr()
        assert mmstack.main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    first, *others = [answers(*command, *asked) for command in commands]
    assert first["prompt"] == "Answer in EN: what? <extra_id_0>"
    assert set(first["outputs"]) >= {"generate.text", "generate_beams.score"}
    assert len(first["outputs"]["score_labels.log_likelihood"]) == len(LABELS)
    # The third label alone has more than the 6 tokens that the model writes.
    assert first["outputs"]["score_labels.label_is_cut"] == [False, False, True]
    assert first["warnings"][-1].startswith("'das Bild zeigt' is longer")
    for other in others:
        assert other["prompt"] == first["prompt"] and other["warnings"] == first["warnings"]
        for key, value in first["outputs"].items():
            if np.asarray(value).dtype.kind == "f":
                np.testing.assert_allclose(other["outputs"][key], value, atol=1e-4, err_msg=key)
            else:
                assert other["outputs"][key] == value, key
    long = ["--prompt=" + "Answer in EN: what colour has it? " * 9]
    cut = answers(*query, *local, *long)
    assert cut["outputs"]["generate_text.prompt_is_cut"] is True
    assert "the prompt is longer" in cut["warnings"][0]
    capsys.readouterr()
    assert mmstack.main([*query, *local, *asked]) == 0
    table = capsys.readouterr().out
    assert "score_labels" in table and "generate_beams" in table
    assert first["outputs"]["generate.text"] in table and "red " in table
    for wrong, message in (
        ([*asked, "--text=x"], "compares nothing"),
        ([asked[0]], "answers prompts; give --prompt, or --language"),
        ([*asked, "--language=xx"], "none that this model was trained on"),
    ):
        for command in commands[1], commands[3]:
            assert mmstack.main([*command, *wrong]) == 2
            assert message.replace("--", "") in capsys.readouterr().err.replace("--", "")


@pytest.fixture(scope="module")
def encoder(exported):
    return FrozenWordEncoder(f"{exported[1]}/1", "phrases.encoder")


def test_vectors_of_words_are_those_of_the_models_text_encoder(exported, encoder):
    model_dir, output = exported
    model = load_run(model_dir).model
    tokenizer = SentencePieceTokenizer(f"{model_dir}/../records/pieces.model")
    width, room = model.config.language.width, 23  # One token more ends the sentence.
    assert encoder.width == width
    loaded = tf.saved_model.load(f"{output}/1").signatures["encode_words"]
    answer = {key: v.numpy() for key, v in loaded(sentences=tf.constant(SENTENCES)).items()}
    assert answer["sequence_len"].tolist() == WORDS_READ
    assert answer["sentence_is_cut"].tolist() == [False, False, False, True]
    for row, sentence in enumerate(SENTENCES):
        read = WORDS_READ[row]
        expected = _words_by_hand(model, tokenizer, sentence.split(), room)
        for name, layer in zip(("word_emb", "lstm1", "lstm2"), expected, strict=True):
            both = layer if name == "word_emb" else np.tile(layer, 2)
            np.testing.assert_allclose(answer[name][row, :read], both[:read], atol=1e-5)
            assert not np.any(answer[name][row, read:])
    assert not np.any(answer["lstm2"][2, 1])  # It has no pieces.


def test_words_stand_for_themselves_and_read_their_sentence(encoder):
    texts = ["red three", "the red three", ""]
    batches = tf.data.Dataset.from_tensors(tf.constant(texts))
    (together,) = batches.map(lambda batch: encoder.encode(batch, 4))
    alone = [encoder.encode(tf.constant([text]), 4) for text in texts]
    for row, one in enumerate(alone):
        np.testing.assert_allclose(together.layers[row], one.layers[0], atol=1e-5)
    layers = together.layers.numpy()
    of_two, of_three = layers[0, :2], layers[1, 1:3]
    np.testing.assert_allclose(of_two[:, 0], of_three[:, 0], atol=1e-6)
    assert np.abs(of_two[:, 1:] - of_three[:, 1:]).max(axis=(0, 2)).min() > 1e-3
    ends = both_ends(together.layers, together.word_mask).numpy()
    halves = np.split(layers, 2, axis=-1)
    np.testing.assert_array_equal(ends[1], np.concatenate([halves[0][1, 0], halves[0][1, 2]], -1))
    nothing = encoder.encode(tf.constant([""]), 4)
    assert nothing.num_words.numpy().tolist() == [0] and not np.any(nothing.layers)


def test_options_are_those_of_the_served_functions(exported):
    run = load_run(exported[0])

    def made(**options):
        return build_signatures(run, None, "latest", ExportOptions(**options))

    drawn = made(batch_size=3, decoding={"method": "sample", "num_beams": 2, "max_length": 4})
    specs = {s.name: s for s in drawn.functions()["generate_text"].input_signature}
    assert {name: spec.shape.as_list() for name, spec in specs.items()} == {
        "prompt": [3],
        "seed": [3],
    }
    prompts = object_array([PROMPTS[0].encode()] * 2)
    texts = [
        drawn.reference("generate_text", {"prompt": prompts, "seed": np.array(seeds, np.int32)})
        for seeds in ([1, 2], [2, 1])
    ]
    assert texts[0]["text"].tolist() == texts[1]["text"].tolist()[::-1]
    assert texts[0]["score"][0] != texts[0]["score"][1]
    beams = drawn.reference("generate_beams_text", {"prompt": prompts[:1]})
    assert beams["text"].shape == (1, 2)
    best = made(decoding={"method": "beam", "num_beams": 2, "max_length": 4})
    answer = best.reference("generate_text", {"prompt": prompts[:1]})
    assert answer["text"].tolist() == beams["text"][:, 0].tolist()
    assert answer["score"] == pytest.approx(beams["score"][:, 0])
    with pytest.raises(UserError, match="give --batch_size too"):
        made(jit_compile=True)
    with pytest.raises(UserError, match="min_length is 6"):
        made(decoding={"min_length": 6})


@pytest.mark.slow
@pytest.mark.parametrize("jit", [[], ["--jit_compile"]])
def test_a_fixed_batch_gives_the_checkpoints_strings(exported, tmp_path, jit):
    model_dir, output = exported[0], str(tmp_path / "pali")
    flags = ["--batch_size=2", "--decoding=num_beams=2", "--decoding=alpha=1", *jit]
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}", *flags]) == 0
    options = ExportOptions(2, bool(jit), {"num_beams": 2, "alpha": 1.0})
    signatures = build_signatures(load_run(model_dir), None, "latest", options)
    version = LoadedVersion("pali", 1, f"{output}/1")
    prompts = object_array([prompt.encode() for prompt in PROMPTS])
    for rows in (1, 2):
        request = {"prompt": prompts[:rows]}
        for name in ("generate_text", "generate_beams_text"):
            answer = version.run(version.signature(name), request)
            expected = signatures.reference(name, request)
            assert answer["text"].tolist() == expected["text"].tolist()
            np.testing.assert_allclose(answer["score"], expected["score"], atol=1e-4)
    card = (tmp_path / "pali/1/assets.extra/README.md").read_text()
    assert "num_beams 2" in card and "Axis 0 has 2 rows" in card
    assert ("compiled with XLA" in card) == bool(jit)


def _words_by_hand(model, tokenizer, words, room):
    """Means over the pieces of each word, of a sentence that is read alone and without padding."""
    pieces = [tokenizer.ragged(tf.constant([word])).values.numpy().tolist() for word in words]
    ids = tf.constant([[*sum(pieces, [])[:room], tokenizer.end_id]])
    embedded = model.language.embed(ids)
    bias = model.language.encoder_bias(np.arange(ids.shape[1]))
    inside = BlockInputs(embedded, bias=bias)
    for block in model.language.encoder.blocks[: (model.language.encoder.num_layers + 1) // 2]:
        inside = dataclasses.replace(inside, tokens=block.forward(inside).tokens)
    layers = [embedded, inside.tokens, model.language.encode(embedded)]
    vectors = [np.zeros([len(words), embedded.shape[2]]) for _ in layers]
    for word in range(len(words)):
        start = len(sum(pieces[:word], []))
        mine = slice(start, min(start + len(pieces[word]), room))
        for layer, vector in zip(layers, vectors, strict=True):
            if mine.stop > mine.start:
                vector[word] = layer[0, mine].numpy().mean(axis=0)
    return vectors


def _by_hand(model, signatures, request):
    """The model as evaluation uses it."""
    tokenizer = signatures.module.tokenizer
    encoded = tf.constant(request["image_jpeg"])[:, tf.newaxis]
    video = preprocessing.video_from_jpeg(encoded, 1, 16, 16, "resize")
    inputs = {"video": video, "inputs": tokenizer.tokenize(request["prompt"], 24, end=True)}
    found = {}
    for method in ("greedy", "beam"):
        config = DecodingConfig(method=method, max_length=6, num_beams=4)
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
