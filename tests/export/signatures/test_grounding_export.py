"""Grounding exported, proven, served and asked: where phrases are, as the model has it."""

import dataclasses
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mmstack
from export.client.string_arrays import text_array
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures import fields
from export.signatures.build import build_signatures
from export.version.options import ExportOptions
from mm_models.errors import UserError
from mm_models.metrics.boxes import heat_maps
from mm_models.metrics.boxes.proposals import propose_boxes
from mm_models.text.encoders.word_encoder import FrozenWordEncoder
from tests.export.signatures.grounding_model import (
    NUM_FRAMES,
    NUM_WORDS,
    SIZE,
    experiment,
    with_stream,
    write_run,
)
from tests.export_battery import assert_close, check_export
from tests.mm_models.text.dummy_word_encoder import write_encoder
from trainers.runs import load_run

PHRASES = ("the small green seven", "red two", "", "a b c d e f g h")
OF_STILLS = {"ground", "ground_pixels", "embed_image", "embed_image_pixels", "ground_embedded"}


def some_frames(seed=0):
    """Frames of four clips in the model's size: coarse noise, so that maps differ by place."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, NUM_FRAMES, 4, 5, 3), np.uint8)
    return noise.repeat(SIZE[0] // 4, axis=2).repeat(SIZE[1] // 5, axis=3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounding")
    model_dir, output = write_run(folder), str(folder / "grounding")
    assert mmstack.main(["export", f"--model_dir={model_dir}", f"--output={output}"]) == 0
    return model_dir, output


@pytest.fixture(scope="module")
def server(exported):
    with EmbeddedServer([ModelConfig("grounding", exported[1])]) as server:
        yield server


@pytest.fixture(scope="module")
def run(exported):
    return load_run(exported[0])


@pytest.fixture(scope="module")
def answer(server):
    """One call of a served signature."""
    version = server.core.models.get("grounding")
    return lambda name, **inputs: version.run(version.signatures[name], inputs)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(some_frames()[0, 0]).resize((120, 96), Image.Resampling.NEAREST).save(path)
    return str(path)


def test_the_export_is_whole_and_rows_do_not_influence_each_other(run, server):
    signatures = build_signatures(run, None, "latest", ExportOptions())
    assert set(signatures.docs()) == OF_STILLS | {"ground_video", "ground_video_pixels"}
    assert signatures.default_name == "ground"
    check_export(signatures, server.core.models.get("grounding"))


def test_served_maps_words_points_and_boxes_are_the_models(run, answer):
    model, frames = run.model, some_frames()[:, 0]
    found = answer("ground_pixels", image=frames, phrase=text_array(PHRASES))
    encoder = FrozenWordEncoder(run.config.streams["main"].input.phrases.encoder, "encoder")
    encoded = encoder.encode(tf.constant(PHRASES), NUM_WORDS)
    text = model.embed_words(encoded.layers, encoded.word_mask)
    video = frames[:, None].astype(np.float32) / 127.5 - 1.0
    regions = model.embed_images(tf.constant(video))
    by_word = model.ground(text.words, regions)
    whole = model.ground(text.sentence[:, None], regions)
    names = np.array(model.levels)
    for row, phrase in enumerate(PHRASES):
        words = phrase.split()[:NUM_WORDS]
        scores = by_word.scores[row, : len(words), 0].numpy()
        levels = scores.argmax(axis=1)
        padding = [b""] * (NUM_WORDS - len(words))
        assert found["words"][row].tolist() == [w.encode() for w in words] + padding
        assert found["word_levels"][row].tolist() == [n.encode() for n in names[levels]] + padding
        assert_close(found["word_scores"][row, : len(words)], scores.max(axis=1, initial=0.0))
        maps = [by_word.heat[row, t, 0, :, :, level].numpy() for t, level in enumerate(levels)]
        heat = sum(s * m for s, m in zip(scores.max(axis=1, initial=0.0), maps, strict=True))
        heat = heat / scores.max(axis=1).sum() if words else np.zeros(model.grid)
        _check_places({key: value[row] for key, value in found.items()}, heat)
        assert_close(found["score"][row], scores.max(axis=1).mean() if words else 0.0)
        level = int(np.argmax(whole.scores[row, 0, 0]))
        sentence = whole.heat[row, 0, 0, :, :, level].numpy() * bool(words)
        assert_close(found["sentence_heat_map"][row], heat_maps.enlarge(sentence, *SIZE))
        assert_close(found["sentence_score"][row], whole.scores[row, 0, 0, level] * bool(words))
    assert found["phrase_is_cut"].tolist() == [False, False, False, True]
    assert not found["word_scores"][2].any() and found["score"][2] == 0.0


def _check_places(found, heat):
    """Of one row: map, point and boxes follow from the heat of the phrase."""
    enlarged = heat_maps.enlarge(heat, *SIZE)
    assert found["heat_map"].min() >= 0.0 and found["heat_map"].max() <= 1.0
    assert_close(found["heat_map"], enlarged)
    place = np.array(heat_maps.first_maximum(np.round(enlarged, 5)))
    np.testing.assert_allclose(found["point"], (place + 0.5) / SIZE, atol=1e-6)
    boxes = propose_boxes(heat.astype(np.float32), *SIZE) / np.array([*SIZE, *SIZE])
    np.testing.assert_allclose(found["boxes"][: len(boxes)], boxes, atol=1e-6)
    assert not found["boxes"][len(boxes) :].any() and (np.diff(found["box_scores"]) <= 0).all()


def test_regions_are_computed_once_for_many_phrases(answer):
    frames, phrases = some_frames()[:, 1], text_array(PHRASES)
    regions = answer("embed_image_pixels", image=frames)["regions"]
    found = answer("ground_embedded", regions=regions, phrase=phrases)
    for key, value in answer("ground_pixels", image=frames, phrase=phrases).items():
        assert_close(found[key], value)
    one = np.repeat(regions[:1], len(PHRASES), axis=0)
    several = answer("ground_embedded", regions=one, phrase=phrases)
    assert_close(several["heat_map"][0], found["heat_map"][0])
    assert np.abs(several["heat_map"][1] - found["heat_map"][1]).max() > 1e-3


def test_a_clip_is_searched_frame_by_frame(answer):
    clips, phrases = some_frames(1), text_array(PHRASES)
    found = answer("ground_video_pixels", frames=clips, phrase=phrases)
    stills = [
        answer("ground_pixels", image=clips[:, number], phrase=phrases)
        for number in range(NUM_FRAMES)
    ]
    assert_close(found["heat_maps"], np.stack([one["heat_map"] for one in stills], axis=1))
    scores = np.stack([one["score"] for one in stills], axis=1)
    assert_close(found["frame_scores"], scores)
    assert found["best_frame"].tolist() == scores.argmax(axis=1).tolist()
    assert set(found["best_frame"][[0, 1, 3]].tolist()) != {0}
    for row, best in enumerate(found["best_frame"]):
        for key in ("point", "boxes", "box_scores", "score", "words", "word_scores", "word_levels"):
            assert_close(found[key][row], stills[best][key][row])


def test_a_query_writes_what_was_found_over_the_picture(
    exported, server, picture, tmp_path, capsys
):
    address = f"--address=127.0.0.1:{server.rest_port}"
    asked = [address, f"--image={picture}", "--phrase=the small green seven"]
    for folder, model in (("here", f"--export_dir={exported[1]}"), ("there", "--name=grounding")):
        command = ["query", *asked, model, f"--output_dir={tmp_path / folder}"]
        assert mmstack.main(command) == 0
        text = capsys.readouterr().out
        assert "heat map, most at row" in text and "ground.score" in text
        table = next(part for part in text.split("\n\n") if "word_scores" in part)
        assert [line.split()[0] for line in table.splitlines()[1:5]] == PHRASES[0].split()
        names = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"ground.heat_map.png", "ground.boxes.png", "ground.point.png"} <= names
        assert "embed_image.regions.npy" in names
    drawn = np.asarray(Image.open(tmp_path / "here" / "ground.heat_map.png")).astype(int)
    plain = np.asarray(Image.open(picture).convert("RGB").resize(drawn.shape[1::-1]))
    assert mmstack.main(["query", *asked, "--name=grounding", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    heat = np.array(told["outputs"]["ground.heat_map"])
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    place = np.array([row, column]) * drawn.shape[:2] // np.array(heat.shape)
    expected = plain[tuple(place)] * (1 - 0.7 * heat.max()) + 0.7 * heat.max() * np.array(
        [255, 0, 0]
    )
    np.testing.assert_allclose(drawn[tuple(place)], expected, atol=25)


def test_predict_writes_a_sheet_of_words_and_their_levels(exported, picture, tmp_path, capsys):
    flags = [f"--model_dir={exported[0]}", f"--image={picture}", "--phrase=the small green seven"]
    assert mmstack.main(["predict", *flags, f"--output_dir={tmp_path}", "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["outputs"]
    assert outputs["ground.words"][:4] == PHRASES[0].split()
    sheet = np.asarray(Image.open(io.BytesIO((tmp_path / "ground.sheet.png").read_bytes())))
    # The picture, four words, and in a second row the phrase and its sentence.
    assert sheet.shape[1] > 4 * 240 and sheet.shape[0] > 2 * 192
    first, second = sheet[:192, :240].astype(int), sheet[:192, 244:484].astype(int)
    assert np.abs(first - second)[..., 1].max() > 20


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--phrase= "], "holds no word"),
        (["--phrase="], "holds no word"),
        (["--phrase=a", "--prompt=b"], "answers no prompts"),
        (["--phrase=a", "--text=b"], "compares nothing with sentences"),
    ],
)
def test_questions_of_another_kind_are_refused(exported, server, picture, flags, message, capsys):
    address = f"--address=127.0.0.1:{server.rest_port}"
    command = ["query", address, f"--export_dir={exported[1]}", f"--image={picture}", *flags]
    assert mmstack.main(command) == 2
    assert message in capsys.readouterr().err


def test_models_of_one_frame_serve_stills_and_streams_share_an_encoder(tmp_path):
    config = experiment(tmp_path, num_frames=1)
    run = load_run(write_run(tmp_path, config))
    signatures = build_signatures(run, None, "latest", ExportOptions(batch_size=2))
    assert set(signatures.docs()) == OF_STILLS and not signatures.info.num_frames
    assert (signatures.info.image_height, signatures.info.image_width) == SIZE
    specs = signatures.functions()["ground_embedded"].input_signature
    assert specs[0].shape.as_list() == [2, *run.model.grid, 2 * run.model.config.dim]
    assert signatures.docs()["ground"].outputs["heat_map"].kind == fields.HEAT_MAP
    with pytest.raises(UserError, match="leave --encoder out"):
        build_signatures(run, None, "latest", ExportOptions(encoder="any"))
    changed = with_stream(config, "other", write_encoder(tmp_path / "others", width=4))
    with pytest.raises(UserError, match="streams differ in input.phrases.encoder"):
        build_signatures(dataclasses.replace(run, config=changed), None, "latest", ExportOptions())
