"""Boxes, heat maps, sounds and videos: served, asked, shown and written, by kinds alone."""

import io
import json
import pathlib
import wave

import av
import numpy as np
import pytest
from PIL import Image

import mmstack
from export import media_files
from export.client import answers
from export.client.answer_kinds import ANSWER_KINDS
from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.client.questions import Question
from export.server.embedded import EmbeddedServer
from export.server.models import ModelConfig
from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc, output_field
from export.version import saved_model
from export.version.model_info import read_model_info
from mm_models.errors import UserError
from tests.export.sketch_signatures import (
    BOXES,
    FRAME_RATE_HZ,
    NUM_FRAMES,
    NUM_SAMPLES,
    SAMPLE_RATE_HZ,
    Sketch,
)
from tests.export_battery import check_export


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("export") / "sketch")
    saved_model.export_version(Sketch(), folder, name="sketch")
    return folder


@pytest.fixture(scope="module")
def sketch_server(export_dir):
    with EmbeddedServer([ModelConfig("sketch", export_dir)]) as server:
        yield server


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A picture of 64 x 48 pixels, all of one grey."""
    path = tmp_path_factory.mktemp("media") / "grey.png"
    Image.new("RGB", (64, 48), (128, 128, 128)).save(path)
    return str(path)


def addresses(server):
    rest = [f"--address=127.0.0.1:{server.rest_port}"]
    grpc = [f"--address=127.0.0.1:{server.grpc_port}", "--protocol=grpc"]
    return rest, grpc


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def film(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames).astype(int), stream.average_rate


def hum(content):
    with wave.open(io.BytesIO(content), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        return samples, file.getframerate(), file.getnchannels()


def test_kinds_and_what_they_need_travel_with_the_export(export_dir, sketch_server):
    version = sketch_server.core.models.get("sketch")
    check_export(Sketch(), version)
    info = read_model_info(version.path)
    assert info.signatures == Sketch().docs()
    with open(f"{version.path}/assets.extra/model_info.json", encoding="utf-8") as file:
        hums = json.load(file)["signatures"]["hum"]
    assert hums["inputs"]["text"]["kind"] == "sentence"
    assert hums["outputs"]["sound"] == {
        "kind": "sound", "dtype": "float32", "axes": ["batch", "samples"], "meaning": "mono",
        "properties": {"sample_rate_hz": SAMPLE_RATE_HZ},
    }  # fmt: skip
    with open(f"{version.path}/assets.extra/signatures.md", encoding="utf-8") as file:
        assert "`sound` (sound, 8000 Hz), float32[batch, samples]: mono" in file.read()


def test_boxes_and_heat_maps_are_drawn_over_the_picture(
    export_dir, sketch_server, grey, tmp_path, capsys
):
    """Decoded here over REST and gRPC, and by the server: the same words and pictures."""
    rest, grpc = addresses(sketch_server)
    asked = [f"--image={grey}", "--text=a grey field", "--text=snow"]
    ways = {
        "rest": [*rest, f"--export_dir={export_dir}"],
        "grpc": [*grpc, f"--export_dir={export_dir}"],
        "posted": [*rest, "--name=sketch"],
    }
    for way, flags in ways.items():
        folder = tmp_path / way
        capsys.readouterr()
        assert mmstack.main(["query", *flags, *asked, f"--output_dir={folder}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert f"wrote {folder}/ground.boxes.png" in lines
        rows = [line for line in lines if line.startswith("a grey field")]
        assert len(rows) == 2
        assert rows[0].split()[3:] == ["0.250", "0.500", "1.000", "1.000", "0.7500"]
        assert rows[1].split()[3:] == ["0.000", "0.000", "0.500", "0.500", "0.2500"]
        assert any("attend.where" in line and "row 1, column 2: 1.0000" in line for line in lines)
        _check_pictures(folder)
    capsys.readouterr()
    assert mmstack.main(["query", *ways["posted"], *asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"]["ground.boxes"] == BOXES
    assert told["outputs"]["attend.where"] == [[0, 0, 0], [0, 0, 1]]
    assert set(told["files"]) == {"ground.boxes.json", "ground.boxes.png", "attend.where.png"}


def _check_pictures(folder):
    found = json.loads((folder / "ground.boxes.json").read_text())
    assert found == [
        {"boxes_yxyx_norm": BOXES[0], "score": 0.25, "words": "a grey field"},
        {"boxes_yxyx_norm": BOXES[1], "score": 0.75, "words": "a grey field"},
    ]
    drawn = pixels(folder / "ground.boxes.png")
    assert drawn.shape == (48, 64, 3)
    assert drawn[0, 5].tolist() == drawn[20, 0].tolist() == drawn[23, 31].tolist() == [255, 64, 64]
    assert drawn[47, 40].tolist() == drawn[30, 63].tolist() == [64, 200, 64]
    assert np.abs(drawn[40, 10] - 128).max() <= 2
    hot = pixels(folder / "attend.where.png")
    assert hot.shape == (48, 64, 3) and np.abs(hot[2, 2] - 128).max() <= 2
    red = round(0.3 * 128 + 0.7 * 255)
    assert np.abs(hot[46, 62] - (red, 38, 38)).max() <= 2


def test_phrases_are_found(export_dir, sketch_server, grey, tmp_path, capsys):
    """Decoded here over REST and gRPC, and by the server: a table of words, and a cross."""
    rest, grpc = addresses(sketch_server)
    local = f"--export_dir={export_dir}"
    phrase = "a " + 23 * "y"
    for number, flags in enumerate(([*rest, local], [*grpc, local], [*rest, "--name=sketch"])):
        folder = tmp_path / str(number)
        command = ["query", *flags, f"--image={grey}", f"--phrase={phrase}"]
        assert mmstack.main([*command, f"--output_dir={folder}"]) == 0
        text = capsys.readouterr().out
        assert "at 0.250 of the height and 0.500 of the width" in text
        table = text.split("find ")[-1].splitlines()[:3]
        assert [line.split()[-1] for line in table] == ["score", "1.0000", "23.0000"]
        crossed = pixels(folder / "find.point.png")
        white = np.argwhere((crossed == 255).all(axis=-1)).tolist()
        across, down = [[12, 29 + n] for n in range(7)], [[9 + n, 32] for n in range(7)]
        assert sorted(white) == sorted(across + [place for place in down if place != [12, 32]])
        assert (crossed[11, 30] == 0).all() and np.abs(crossed[30, 10] - 128).max() <= 2
    assert mmstack.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["phrase"] == phrase and told["outputs"]["find.words"] == ["a", 23 * "y", ""]


def test_sounds_and_videos_are_written(export_dir, sketch_server, tmp_path, capsys):
    for flags in addresses(sketch_server):
        folder = tmp_path / f"out{len(flags)}"
        command = ["query", *flags, f"--export_dir={export_dir}", "--text=four", "--seed=30"]
        assert mmstack.main([*command, f"--output_dir={folder}"]) == 0
        text = capsys.readouterr().out
        assert "0.50 s of sound at 8000 Hz" in text and "1 numbers: 4" in text
        assert "7 frames of 33 x 48 pixels at 5 per second" in text
        samples, rate, channels = hum((folder / "hum.sound.wav").read_bytes())
        assert (len(samples), rate, channels) == (NUM_SAMPLES, SAMPLE_RATE_HZ, 1)
        expected = 0.5 * np.sin(2 * np.pi * 400 * np.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ)
        np.testing.assert_allclose(samples, expected, atol=1e-3)
        frames, rate = film(folder / "draw.film.mp4")
        # H.264 has even sides: one row more.
        assert frames.shape == (NUM_FRAMES, 34, 48, 3) and float(rate) == FRAME_RATE_HZ
        for number, frame in enumerate(frames):
            assert np.abs(frame - (30 + 10 * number)).max() <= 4
        assert not [path for path in folder.iterdir() if path.name.startswith(".tmp-")]
    assert mmstack.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"]["hum.sound"] == {"sample_rate_hz": 8000, "num_samples": 4000}
    assert set(told["files"]) == {"hum.sound.wav", "draw.film.mp4"}
    assert mmstack.main(command) == 0
    assert "--output_dir writes hum.sound.wav, draw.film.mp4" in capsys.readouterr().out


def test_plain_protocols_carry_the_arrays(sketch_server):
    inputs = {"text": np.array([b"four"], object), "seed": np.array([30], np.int32)}
    for kind, port in ((RestClient, "rest_port"), (GrpcClient, "grpc_port")):
        with kind(f"127.0.0.1:{getattr(sketch_server, port)}", "sketch") as client:
            frames = client.predict(inputs, "draw")["film"]
            assert frames.shape == (1, NUM_FRAMES, 33, 48, 3)
            assert frames[0, :, 0, 0, 0].tolist() == list(range(30, 100, 10))


def test_mistakes_are_one_sentence(export_dir, sketch_server, grey, tmp_path, capsys):
    rest, _ = addresses(sketch_server)
    local = [*rest, f"--export_dir={export_dir}"]
    (tmp_path / "file").touch()
    for flags, message in (
        (["--text=a", "--text=b"], "one --text at a time"),
        ([f"--image={grey}", "--label=x"], "chooses no --label"),
        ([f"--image={grey}", "--prompt=x"], "answers no prompts"),
        ([f"--image={grey}", "--phrase= "], "holds no word"),
        (["--phrase=a"], "give --image or --video"),
        (["--text=a", "--phrase=a"], "finds no --phrase in this file"),
        ([f"--image={grey}", f"--output_dir={tmp_path}/file"], "cannot be made"),
    ):
        assert mmstack.main(["query", *local, *flags]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1
    content = pathlib.Path(grey).read_bytes()
    with (
        RestClient(rest[0].partition("=")[2], "sketch") as client,
        pytest.raises(RequestFailed, match="chooses no label"),
    ):
        client.predict_media(content, labels=["x"])


def test_what_is_described_must_be_what_the_graph_has(tmp_path):
    class Wrong(Sketch):
        def docs(self):
            docs = dict(super().docs())
            attend = docs["attend"]
            wrong = {"where": output_field(fields.EMBEDDING, "one axis less")}
            return docs | {"attend": SignatureDoc(attend.summary, attend.inputs, wrong)}

    with pytest.raises(UserError, match="signature 'attend' has .* but is described as"):
        saved_model.export_version(Wrong(), str(tmp_path), name="wrong")
    assert not list(tmp_path.iterdir())


def test_every_kind_is_shown_and_an_unknown_one_as_values(capsys):
    assert set(ANSWER_KINDS) == set(fields.OUTPUT_KINDS)
    with pytest.raises(ValueError, match="sample_rate_hz"):
        output_field(fields.SOUND, "mono")
    with pytest.raises(ValueError, match="no kind"):
        output_field("smell", "none")
    names = [f"class {number}" for number in range(7)]
    doc = SignatureDoc(
        "Everything else.",
        {},
        {
            "all": output_field(fields.CLASS_SCORES, "each", class_names=names),
            "cut": output_field(fields.CLASS_NAME_FLAGS, "cut", note="{} is cut"),
            "likely": output_field(fields.CLASS_NAME_SCORES, "each"),
            "smell": Field("smell", "float32", ("batch", "noses"), "of another package"),
        },
    )
    row = {
        "all": np.arange(7.0),
        "cut": np.array([False, True]),
        "likely": np.array([-1.5, -0.5]),
        "smell": np.array([0.5, 2.0]),
    }
    found = answers.collect({"s": doc}, {"s": row}, ())
    assert answers.from_reply(json.loads(json.dumps(answers.to_reply(found)))) == found
    answers.print_answers(found, Question(labels=("x", "y")), ["mended"])
    text = capsys.readouterr().out
    assert text.splitlines()[:2] == ["note: mended", "note: 'y' is cut"]
    assert "2 numbers: 0.5000, 2.0000" in text
    order = [text.index(name) for name in ("class 6", "class 5", "class 2", "y  ", "x  ")]
    assert order == sorted(order) and "class 1" not in text


def test_names_of_files_lead_out_of_no_folder(tmp_path):
    paths = answers.write_files({"../s.sound.wav": b"x"}, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".._s.sound.wav"]
    assert pathlib.Path(paths["../s.sound.wav"]).read_bytes() == b"x"


def test_a_heat_map_without_a_picture_is_a_picture_itself():
    doc = SignatureDoc("Looks.", {}, {"map": output_field(fields.HEAT_MAP, "1 is most")})
    found = answers.collect({"s": doc}, {"s": {"map": np.eye(3, dtype=np.float32)}}, ())
    shown = media_files.picture_pixels(found.files["s.map.png"])
    assert shown[..., 0].tolist() == np.round(np.eye(3) * 0.7 * 255).tolist()


def test_frames_stand_side_by_side_and_what_is_found_is_drawn_into_its_frame(capsys):
    """Of a model that sees nine frames of a clip of three: these go round."""
    doc = SignatureDoc(
        "Follows.",
        {},
        {
            "maps": output_field(fields.HEAT_MAPS, "1 is most"),
            "score": output_field(fields.FRAME_SCORES, "of each frame"),
            "best": output_field(fields.FRAME_NUMBER, "the one with the best score"),
            "point": output_field(fields.POINT, "in that frame", frame="best"),
            "middle": output_field(fields.POINT, "in the middle one"),
        },
    )
    levels = np.array([10, 100, 200], np.uint8)[:, None, None, None]
    frames = media_files.jpeg_frames(np.broadcast_to(levels, (3, 8, 6, 3)))
    heat = np.zeros([9, 2, 2], np.float32)
    heat[4] = 1.0
    corner = np.zeros(2, np.float32)
    row = {"maps": heat, "score": heat[:, 0, 0], "best": np.int32(5)}
    found = answers.collect({"s": doc}, {"s": row | {"point": corner, "middle": corner}}, frames)
    sheet = media_files.picture_pixels(found.files["s.maps.png"]).astype(int)
    assert sheet.shape == (2 * 9 - 1, 8 * 7 - 1, 3)
    shown = [sheet[9 * (n // 8) + 1, 7 * (n % 8) + 1].tolist() for n in range(9)]
    grey = [[10] * 3, [100] * 3, [200] * 3] * 3
    grey[4] = [round(0.3 * 100 + 0.7 * 255), 30, 30]
    np.testing.assert_allclose(shown, grey, atol=2)
    assert not sheet[:8, 6].any() and not sheet[9:, 7:].any()
    np.testing.assert_array_equal(np.load(io.BytesIO(found.files["s.maps.npy"])), heat)
    for name, level in (("point", 200), ("middle", 100)):
        drawn = media_files.picture_pixels(found.files[f"s.{name}.png"])
        assert drawn[0, 0].tolist() == [255] * 3 and abs(int(drawn[7, 5, 0]) - level) <= 2
    assert found.outputs["s.maps"] == {"num_frames": 9, "height": 2, "width": 2}
    answers.print_answers(found, Question(), [])
    text = capsys.readouterr().out
    assert "9 heat maps of 2 x 2" in text
    assert text.split("score\n")[1].split()[:3] == ["frame", "4", "1.0000"]


def test_features_of_regions_are_a_file_and_their_number_a_line(capsys):
    doc = SignatureDoc("Maps.", {}, {"maps": output_field(fields.FEATURE_MAP, "of regions")})
    maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = answers.collect({"s": doc}, {"s": {"maps": maps}}, ())
    assert found.outputs == {"s.maps": {"rows": 2, "columns": 3, "dim": 4}}
    np.testing.assert_array_equal(np.load(io.BytesIO(found.files["s.maps.npy"])), maps)
    answers.print_answers(found, Question(), [])
    assert "2 x 3 regions of 4 features" in capsys.readouterr().out


def test_of_two_exports_of_one_version_the_second_is_told(tmp_path, monkeypatch):
    prove = saved_model.validate.prove

    def prove_slowly(*args):
        proof = prove(*args)
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"another's")
        return proof

    monkeypatch.setattr(saved_model.validate, "prove", prove_slowly)
    with pytest.raises(UserError, match="1 was written by another export meanwhile"):
        saved_model.export_version(Sketch(), str(tmp_path), name="sketch")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"another's"
