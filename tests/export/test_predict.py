"""`mmstack predict`: embeddings, classes by prompts, and the nearest records, for any media."""

import json

import numpy as np
import pytest
from PIL import Image

import mmstack
from export import media_files
from export.client import comparisons
from export.signatures.shared import samples
from tests.beam_pipelines.media import media_samples
from tests.export.signatures.vatt_model import write_run
from trainers import runs
from trainers.evaluation.places.record_set import embed_records


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    pictures = [media_samples.grey_ramp(number) for number in range(16)]
    media_samples.write_video(str(folder / "clip.mp4"), pictures, rate=8)
    Image.fromarray(pictures[3]).save(folder / "still.png")
    (folder / "sound.wav").write_bytes(media_files.wav_file(samples.chirp(2048, 8000), 8000))
    return folder


def predict(capsys, model_dir, *flags) -> dict:
    assert mmstack.main(["predict", f"--model_dir={model_dir}", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_classes_by_prompts_and_nearest_records(model_dir, media, capsys):
    folder = f"{model_dir}/../records"
    answers = predict(
        capsys,
        model_dir,
        f"--video={media}/clip.mp4",
        "--text=a green digit",
        "--label=three",
        "--label=seven",
        "--prompt={}",
        "--prompt=a green digit {}",
        f"--records={folder}",
        "--top=3",
    )
    video = np.array(answers["outputs"]["encode_video.video_vt"])
    names = [f"--text={words}" for words in ("three", "a green digit three")]
    prompts = np.array(predict(capsys, model_dir, *names)["sentences"]["text_vt"])
    three = prompts.mean(axis=0) / np.linalg.norm(prompts.mean(axis=0))
    ranked = {entry["label"]: entry for entry in answers["labels"]["video"]}
    assert ranked["three"]["similarity"] == pytest.approx(three @ video, abs=1e-5)
    difference = ranked["three"]["similarity"] - ranked["seven"]["similarity"]
    odds = ranked["three"]["probability"] / ranked["seven"]["probability"]
    assert np.log(odds) == pytest.approx(difference / 0.07, abs=1e-4)
    assert sum(entry["probability"] for entry in ranked.values()) == pytest.approx(1.0)

    run = runs.load_run(model_dir)
    inputs = run.config.streams["main"].input
    records = embed_records(run.model, inputs, folder, "test", modality="video")
    assert len(records.clips) == 16
    text = np.array(answers["sentences"]["text_vt"])[0]
    for title, space, query in (
        ("video", "va", np.array(answers["outputs"]["encode_video.video_va"])),
        ('"a green digit"', "vt", text),
    ):
        cosines = records.embeddings[f"video_{space}"] @ query
        found = answers["nearest"][title]
        assert [e["cosine"] for e in found] == pytest.approx(sorted(-cosines)[:3] * np.array(-1.0))
        best = records.clips[int(np.argmax(cosines))]
        assert (found[0]["key"], found[0]["captions"]) == (best.key, list(best.captions))


def test_sounds_and_stills_in_tables(model_dir, media, capsys):
    flags = [f"--records={model_dir}/../records", "--top=2", "--max_records=4"]
    sound = [f"--media={media}/sound.wav", "--label=three", "--label=seven", "--by=audio", *flags]
    assert mmstack.main(["predict", f"--model_dir={model_dir}", *sound]) == 0
    output = capsys.readouterr().out
    assert "encode_audio.audio_va" in output and "encode_video" not in output
    assert output.count("three") >= 1 and "similarity  probability" in output
    lines = output.split("nearest to audio\n")[1].splitlines()
    assert len(lines) == 2 and all("test/00000" in line for line in lines)
    still = predict(capsys, model_dir, f"--image={media}/still.png", "--text=three")
    assert len(still["outputs"]["similarity_video.similarity"]) == 1
    assert "encode_audio.audio_va" not in still["outputs"]


def test_sentences_alone_find_records(model_dir, capsys):
    words = ["--text=a green digit three", f"--records={model_dir}/../records", "--top=1"]
    assert mmstack.main(["predict", f"--model_dir={model_dir}", *words]) == 0
    output = capsys.readouterr().out
    assert "sentences.text_vt" in output and "1 of 8 numbers" in output
    assert 'nearest to "a green digit three"' in output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give --image, --video, --prompt, or sentences with --text"),
        (["--text=x", "--label=y"], "give --image or --video too"),
        (["--image=none.png"], "--image=none.png does not exist"),
        (["--text=x", "--decoding=beams=2"], "--decoding=beams=2 names none of method"),
        (["--text=x", "--decoding=alpha=much"], "alpha is a number"),
        (["--text=x", "--decoding=num_beams=0"], "num_beams is 0"),
        (["--text=x", "--decoding=top_k=3"], "matters to sampling alone"),
        (["--text=x", "--prompt={}"], "give --label too"),
        (["--text=x", "--top=0"], "--top is 0"),
        (["--text=x", "--max_records=-1"], "--max_records is -1"),
    ],
)
def test_mistakes_are_told_before_the_run_is_loaded(flags, words, capsys):
    assert mmstack.main(["predict", "--model_dir=none", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_prompt_needs_a_place_and_records_must_exist(model_dir, media, capsys):
    clip = [f"--model_dir={model_dir}", f"--video={media}/clip.mp4"]
    assert mmstack.main(["predict", *clip, "--label=x", "--prompt=none"]) == 2
    assert "has no {}" in capsys.readouterr().err
    assert mmstack.main(["predict", *clip, "--prompt=a {}"]) == 2
    assert "give --label too" in capsys.readouterr().err
    assert mmstack.main(["predict", *clip, "--language=de"]) == 2
    assert "answers no prompts" in capsys.readouterr().err
    assert mmstack.main(["predict", *clip, "--decoding=num_beams=2"]) == 2
    assert "writes no text" in capsys.readouterr().err
    assert mmstack.main(["predict", f"--model_dir={model_dir}", f"--image={media}/clip.mp4"]) == 2
    assert "clip.mp4 is no picture" in capsys.readouterr().err
    assert mmstack.main(["predict", *clip, f"--records={media}"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert str(media) in message and "Traceback" not in message


def test_neighbours_leave_out_clips_without_the_modality():
    class Clip:
        def __init__(self, key):
            self.key, self.captions, self.label_texts = key, ("words",), ("name",)

    class Records:
        clips = [Clip("a"), Clip("b"), Clip("c")]
        embeddings = {"video_va": np.array([[1.0, 0], [0.6, 0.8], [0, 1.0]])}
        masks = {"video": np.array([False, True, True])}

    query = {"clip": ("video_va", np.array([1.0, 0.0]))}
    found = comparisons.nearest(Records, "video", query, 5)["clip"]
    assert [(entry.key, entry.cosine) for entry in found] == [("b", 0.6), ("c", 0.0)]
