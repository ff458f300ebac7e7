"""R3 exported, proven, served and asked: captions and the roles in them, as the model has them."""

import html
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import mmstack
from export.client.protocols import GrpcClient, RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures.build import build_signatures
from export.signatures.r3.signatures import R3Signatures
from export.version.options import ExportOptions
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.errors import UserError
from mm_models.signal.region_grid import grid_positions
from tests.beam_pipelines.media import media_samples
from tests.beam_pipelines.pipelines.features.toy_encoders import write_encoder
from tests.export.signatures import vatt_model
from tests.export.signatures.r3_model import DIM, make_features, write_run
from tests.export_battery import check_export
from tests.trainers.tasks.r3 import role_parts
from trainers.runs import load_run

# Tokens of a caption that is written, of the longest that can be read.
WRITTEN = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    """A run, and its export with the encoder of its features inside."""
    folder = tmp_path_factory.mktemp("r3")
    language = {"cross_roles": ["relative_role", "self_role"]}
    model_dir, output = write_run(folder, made.features, language=language), str(folder / "r3")
    flags = [f"--model_dir={model_dir}", f"--output={output}", f"--encoder={made.encoder}"]
    flags.append(f"--decoding=max_length={WRITTEN}")
    assert mmstack.main(["export", *flags, "--frame_rate_hz=8"]) == 0
    return model_dir, output


def make_request():
    random = np.random.default_rng(0)
    maps = random.normal(size=[2, role_parts.STEPS, 3, 3, DIM]).astype(np.float32)
    maps[1, 2:] = 0.0
    return {"features": maps, "num_steps": np.array([3, 2], np.int32)}


def model_inputs(request):
    """As a batch of records has them."""
    steps = role_parts.STEPS
    return {
        "features": tf.constant(request["features"].reshape(2, steps * 9, DIM)),
        "feature_positions": tf.constant(
            np.stack([grid_positions(steps, 3, 3).reshape(-1, 5)] * 2)
        ),
        "feature_token_mask": tf.constant([[1.0] * 27, [1.0] * 18 + [0.0] * 9]),
    }


def test_served_captions_and_roles_are_the_models(exported, made):
    model_dir, output = exported
    run, request = load_run(model_dir), make_request()
    options = ExportOptions(encoder=made.encoder, decoding={"max_length": WRITTEN})
    signatures = build_signatures(run, 8.0, "latest", options)
    assert signatures.default_name == "caption"
    config, model = DecodingConfig(max_length=WRITTEN), run.model
    state = model.start_decoding(model_inputs(request), config.max_length, 1)
    starts = tf.fill([2], model.start_id)
    written = decode(config, model.decode_step, state, starts, model.end_id, None)
    texts = signatures.module.tokenizer.detokenize(written.ids).numpy().tolist()
    with EmbeddedServer([ModelConfig("r3", output)]) as server:
        version = server.core.models.get("r3")
        check_export(signatures, version)
        _check_videos(version, made)
        for kind, port in ((RestClient, server.rest_port), (GrpcClient, server.grpc_port)):
            with kind(f"127.0.0.1:{port}", "r3") as client:
                answer = client.predict(request, "caption")
                assert _bytes(answer["text"]) == texts
                np.testing.assert_allclose(answer["score"], written.scores, atol=1e-4)
                asked = request | {"caption": object_array(texts)}
                _check_roles(client.predict(asked, "roles"), run, request, texts)


def _check_videos(version, made):
    """Frames are captioned as the features that the job made of them."""
    steps = role_parts.STEPS
    for jpegs, features in list(made.clips())[:2]:
        known = {"features": features[None, :steps], "num_steps": np.array([steps], np.int32)}
        expected = version.run(version.signatures["caption"], known)
        sent = {"frames_jpeg": object_array(jpegs)[None]}
        explained = version.run(version.signatures["explain_video"], sent)
        assert explained["text"] == expected["text"]
        np.testing.assert_allclose(explained["score"], expected["score"], atol=0.02)
        roles = version.run(version.signatures["roles"], known | {"caption": expected["text"]})
        np.testing.assert_array_equal(explained["codes"], roles["codes"])
        np.testing.assert_allclose(explained["looked_at"], roles["looked_at"], atol=0.01)


def test_what_is_sent_and_what_it_is_seen_with_is_told(exported, made):
    options = ExportOptions(encoder=made.encoder)
    info = build_signatures(load_run(exported[0]), 8.0, "latest", options).info
    assert (info.clip_part, info.num_frames, info.frame_rate_hz) == ("first", 10, 8.0)
    assert info.encoder.startswith("colors/1@")
    card = (pathlib.Path(exported[1]) / "1/assets.extra/README.md").read_text()
    assert f"Features of the frozen encoder {info.encoder}" in card and "seen as they come" in card


def test_predict_writes_the_caption_and_a_page_of_its_roles(exported, made, tmp_path, capsys):
    video = str(tmp_path / "clip.mp4")
    pictures = [media_samples.grey_ramp(number) for number in range(12)]
    media_samples.write_video(video, pictures, rate=8)
    flags = [f"--model_dir={exported[0]}", f"--encoder={made.encoder}", f"--video={video}"]
    flags += ["--frame_rate_hz=8", f"--output_dir={tmp_path}", "--json"]
    assert mmstack.main(["predict", *flags]) == 0
    answer = json.loads(capsys.readouterr().out)["outputs"]
    caption = answer["caption_video.text"]
    for name in ("text", "score"):
        assert answer[f"caption_video.{name}"] == answer[f"explain_video.{name}"]
    page = (tmp_path / "explain_video.html").read_text()
    assert html.escape(caption) in page and "data:image/jpeg" in page and "step 2" in page


@pytest.mark.parametrize("change", [{"scale": 2.0}, {"cells": 2}])
def test_another_encoder_is_refused(exported, tmp_path, change):
    options = ExportOptions(encoder=str(write_encoder(tmp_path / "colors", **change)))
    with pytest.raises(UserError, match="the model learned from features of colors/1@"):
        build_signatures(load_run(exported[0]), 8.0, "latest", options)


def test_what_records_do_not_tell_is_asked_for(exported, made):
    options = ExportOptions(encoder=made.encoder)
    with pytest.raises(UserError, match="give --frame_rate_hz"):
        build_signatures(load_run(exported[0]), None, "latest", options)


def test_a_model_of_media_has_no_use_for_an_encoder(tmp_path):
    run = load_run(vatt_model.write_run(tmp_path))
    with pytest.raises(UserError, match="leave --encoder out"):
        build_signatures(run, None, "latest", ExportOptions(encoder="exports/vit"))


def _check_roles(answer, run, request, texts):
    tokenizer = R3Signatures.from_run(run, None, "latest").module.tokenizer
    ids = tokenizer.tokenize(tf.constant(texts), role_parts.LENGTH, end=True)
    traces = run.model.traces(model_inputs(request), ids)
    names = [name for name in run.model.dictionaries() if name.startswith("decoder/")]
    assert names == [
        *("decoder/block_0/attention", "decoder/block_0/cross_attention"),
        "decoder/block_1/attention",
    ]
    assert answer["codes"].shape == (2, 3, 2, role_parts.LENGTH)
    np.testing.assert_array_equal(answer["codes"][:, 0], traces[names[0]].roles.ids)
    pairs = traces[names[1]].roles
    best = np.argmax(np.asarray(pairs.scores) * np.asarray(pairs.weights), axis=-1)
    of_best = np.take_along_axis(np.asarray(pairs.ids), best[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(answer["codes"][:, 1], of_best)
    looked = answer["looked_at"]
    assert looked.shape == (2, 1, role_parts.LENGTH, role_parts.STEPS, 3, 3)
    np.testing.assert_allclose(looked.sum(axis=(3, 4, 5)), 1.0, atol=1e-5)
    assert np.all(looked[1, 0, :, 2] == 0.0)
    pieces = [piece.encode() for row in ids.numpy() for piece in tokenizer_pieces(tokenizer, row)]
    assert _bytes(answer["pieces"].ravel()) == pieces


def tokenizer_pieces(tokenizer, ids):
    """Those of padding and end are empty."""
    return ["" if number < 2 else tokenizer.pieces([number])[0] for number in ids]


def _bytes(strings):
    return [one if isinstance(one, bytes) else one.encode() for one in strings]


def test_a_video_is_not_blamed_for_a_model_that_takes_none(exported, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"any")
    command = ["predict", f"--model_dir={exported[0]}", f"--video={tmp_path / 'clip.mp4'}"]
    assert mmstack.main(command) == 2
    assert "takes neither pictures nor sounds" in capsys.readouterr().err


def test_options_are_those_of_the_served_functions(exported):
    run, request = load_run(exported[0]), make_request()
    drawn = build_signatures(
        run, None, "latest", ExportOptions(2, decoding={"method": "sample", "num_beams": 2})
    )
    specs = {s.name: s.shape.as_list() for s in drawn.functions()["caption"].input_signature}
    assert specs == {"features": [2, 3, 3, 3, DIM], "num_steps": [2], "seed": [2]}
    seeds = [np.array(seeds, np.int32) for seeds in ([1, 1], [2, 2])]
    first, second = (drawn.reference("caption", request | {"seed": one}) for one in seeds)
    assert np.any(first["score"] != second["score"])
    beams = drawn.reference("caption_beams", request)
    assert beams["text"].shape == (2, 2) and np.all(beams["score"][:, 0] >= beams["score"][:, 1])
    assert "behind the last" in drawn.docs()["caption"].inputs["features"].meaning


def test_without_codes_there_are_no_roles_to_show(tmp_path):
    run = load_run(write_run(tmp_path, variant="t6"))
    signatures = build_signatures(run, None, "latest", ExportOptions())
    assert set(signatures.docs()) == {"caption", "caption_beams"}
