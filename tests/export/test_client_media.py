"""What clients and the server do with a file that the decoder cannot take."""

import dataclasses
import json
import types

import numpy as np
import pytest

from beam_pipelines.media.isolated import DecoderError
from beam_pipelines.rejects import Reject, RejectCode
from export import media_files
from export.client import media_requests
from export.client.questions import Question, question_for
from export.signatures import fields
from export.signatures.fields import SignatureDoc, input_field, output_field
from export.version.model_info import ModelInfo, parse_model_info
from export.version.run_facts import stored_region
from mm_models.errors import UserError

INFO = ModelInfo(
    system="vatt",
    experiment="test",
    step=1,
    checkpoint="latest",
    frame_rate_hz=8.0,
    num_frames=8,
    height=32,
    width=32,
    sample_rate_hz=16000,
    num_samples=32000,
    num_tokens=8,
    signatures={},
    tensorflow_version="2.20.0",
    op_libraries=[],
    custom_ops=[],
)


class _Decoder:
    def __init__(self, answer):
        self._answer = answer

    def run(self, *arguments):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def doc(*kinds, **outputs):
    """A signature with an input of each kind, named by it."""
    inputs = {kind: input_field(kind, "given") for kind in kinds}
    found = {name: output_field(kind, "told") for name, kind in outputs.items()}
    return SignatureDoc("One of a test.", inputs, found)


PICTURE, PIXELS, FRAMES = fields.ENCODED_PICTURE, fields.PICTURE_PIXELS, fields.ENCODED_FRAMES
STILLS_AND_CLIPS = {
    "a": doc(PICTURE, place=fields.EMBEDDING),
    "a in pixels": doc(PIXELS, place=fields.EMBEDDING),
    "b": doc(PICTURE, fields.SENTENCES, score=fields.SENTENCE_SCORES),
    "c": doc(PICTURE, text=fields.TEXT),
    "d": doc(PICTURE, fields.CLASS_NAMES, score=fields.CLASS_NAME_SCORES),
    "e": doc(FRAMES, place=fields.EMBEDDING),
    "f": doc(FRAMES, fields.SENTENCES, score=fields.SENTENCE_SCORES),
    "g": doc(fields.WAVEFORM, place=fields.EMBEDDING),
    "g of a file": doc(fields.WAV_FILE, place=fields.EMBEDDING),
    "h": doc(fields.WAVEFORM, text=fields.TEXT),
    "of a sentence": doc(fields.SENTENCE, place=fields.EMBEDDING),
}


@pytest.mark.parametrize(
    ("is_still", "signatures", "expected"),
    [
        (True, "a|a in pixels|b|c|d|e|f|g|h|of a sentence", {"a", "b", "c"}),
        (False, "a|a in pixels|b|c|d|e|f|g|h|of a sentence", {"e", "f"}),
        (True, "e|f", {"e", "f"}),
        (True, "e|g|b|of a sentence", {"b"}),
        (True, "a in pixels|f", {"a in pixels"}),
    ],
)
def test_stills_go_to_the_signatures_of_stills_where_there_are_some(is_still, signatures, expected):
    frames = media_files.jpeg_frames(np.zeros((2, 6, 9, 3), np.uint8))
    clip = media_requests.Clip(frames, None, is_still=is_still)
    known = {name: STILLS_AND_CLIPS[name] for name in signatures.split("|")}
    requests = media_requests.requests_for(clip, Question(("words",)), known)
    assert set(requests) == expected
    shapes = {PICTURE: (1,), PIXELS: (1, 6, 9, 3), FRAMES: (1, 2), fields.SENTENCES: (1, 1)}
    for name, arrays in requests.items():
        assert {key: value.shape for key, value in arrays.items()} == {
            key: shapes[key] for key in known[name].inputs
        }


def test_sounds_go_to_the_classifiers_of_sounds():
    clip = media_requests.Clip(None, np.zeros(5, np.float32))
    requests = media_requests.requests_for(clip, Question(), STILLS_AND_CLIPS)
    assert set(requests) == {"g", "h"}
    assert requests["g"][fields.WAVEFORM].shape == (1, 5)
    only = {"g of a file": STILLS_AND_CLIPS["g of a file"]}
    clip = media_requests.Clip(None, np.zeros(5, np.float32), sample_rate_hz=8000)
    (sent,) = media_requests.requests_for(clip, Question(), only)["g of a file"][fields.WAV_FILE]
    assert sent == media_files.wav_file(np.zeros(5), 8000)


def test_a_sentence_alone_is_asked_about_where_a_signature_takes_one():
    requests = media_requests.requests_for(None, Question(("words",)), STILLS_AND_CLIPS)
    assert set(requests) == {"of a sentence"}
    assert requests["of a sentence"][fields.SENTENCE].tolist() == [b"words"]
    with pytest.raises(UserError, match="one --text at a time"):
        media_requests.requests_for(None, Question(("words", "others")), STILLS_AND_CLIPS)
    words = STILLS_AND_CLIPS["of a sentence"]
    both = media_requests.requests_for(None, Question(("t",), "p"), WRITER | {"words": words})
    assert set(both) == {"generate_text", "generate_beams_text", "words"}
    with pytest.raises(UserError, match="one --text at a time"):
        media_requests.requests_for(None, Question(("t", "u"), "p"), WRITER | {"words": words})


def _writer():
    """Three signatures for a prompt with a picture, with a clip and alone."""
    asked = (fields.PROMPT, fields.SEED), (fields.PROMPT,), (fields.PROMPT, fields.CLASS_NAMES)
    return {
        f"{name}{suffix}": doc(*media, *words, text=fields.TEXT)
        for suffix, media in (("", (PICTURE,)), ("_video", (FRAMES,)), ("_text", ()))
        for name, words in zip(("generate", "generate_beams", "score"), asked, strict=True)
    }


WRITER = _writer()
FINDER = {
    "find": doc(PICTURE, fields.PHRASE, where=fields.HEAT_MAP),
    "find in features": doc(fields.FEATURE_MAP, fields.PHRASE, where=fields.HEAT_MAP),
    "features": doc(PICTURE, features=fields.FEATURE_MAP),
}
NAMES = tuple(WRITER)


@pytest.mark.parametrize(
    ("clip", "labels", "expected"),
    [
        (media_requests.Clip([b"a"], None, is_still=True), (), NAMES[:2]),
        (media_requests.Clip([b"a"], None, is_still=True), ("x", "y"), NAMES[:3]),
        (media_requests.Clip([b"a", b"b"], None), ("x",), NAMES[3:6]),
        (None, ("x",), NAMES[6:]),
    ],
)
def test_prompts_go_with_what_is_given(clip, labels, expected):
    requests = media_requests.requests_for(clip, Question((), "what?", labels, seed=3), WRITER)
    assert tuple(requests) == expected
    for name, arrays in requests.items():
        assert arrays["prompt"].tolist() == [b"what?"]
        assert ("seed" in arrays) == name.startswith("generate") - name.startswith("generate_b")
        assert (fields.CLASS_NAMES in arrays) == name.startswith("score")
    if labels:
        scored = requests[expected[-1]][fields.CLASS_NAMES].tolist()
        assert scored == [[label.encode() for label in labels]]


def test_phrases_go_with_pictures_and_features_are_for_programs():
    clip = media_requests.Clip([b"a"], None, is_still=True)
    requests = media_requests.requests_for(clip, Question(phrase="a cat"), FINDER)
    assert set(requests) == {"find", "features"}
    assert requests["find"]["phrase"].tolist() == [b"a cat"]
    finder = dataclasses.replace(INFO, signatures=FINDER)
    assert question_for(finder, phrase="a cat") == Question(phrase="a cat")
    with pytest.raises(UserError, match="a model of vatt looks for no phrases"):
        question_for(INFO, phrase="a cat")


@pytest.mark.parametrize(
    ("clip", "question", "signatures", "message"),
    [
        (
            media_requests.Clip([b"a"], None, is_still=True),
            Question((), "p"),
            NAMES[6:],
            "no stream",
        ),
        (None, Question((), "p"), NAMES[:3], "give --image"),
        (None, Question(("t",), "p"), NAMES, "compares nothing"),
        (
            media_requests.Clip([b"a"], None),
            Question(("t",), "p"),
            ("generate_video", "of a sentence"),
            "compares nothing",
        ),
        (media_requests.Clip([b"a"], None), Question(labels=("x",)), ("e",), "no --label"),
        (media_requests.Clip([b"a"], None), Question((), "p"), ("e", "generate"), "no --prompt"),
        (media_requests.Clip([b"a"], None), Question(phrase="p"), ("e", "find"), "no --phrase"),
    ],
)
def test_what_no_signature_takes_is_refused(clip, question, signatures, message):
    known = {name: (STILLS_AND_CLIPS | WRITER | FINDER)[name] for name in signatures}
    with pytest.raises(UserError, match=message):
        media_requests.requests_for(clip, question, known)


WRITES = dataclasses.replace(
    INFO,
    system="pali",
    signatures=WRITER,
    languages={"en": "EN", "de": "DE"},
    prompts={"captioning": "alt_text in {lang} at {pos}: <extra_id_0>"},
    default_prompt="alt_text in {lang} at 0: <extra_id_0>",
)


def test_prompts_take_the_name_of_the_language():
    caption = question_for(WRITES, language="de", labels=["x"])
    assert caption == Question((), "alt_text in DE at 0: <extra_id_0>", ("x",))
    question = question_for(WRITES, prompt="In {lang}: what?", language="en", seed=5)
    assert question.prompt == "In EN: what?" and question.seed == 5
    mixed = dataclasses.replace(WRITES, signatures=WRITER | STILLS_AND_CLIPS)
    assert question_for(mixed, texts=["a"]) == Question(("a",))
    assert question_for(INFO, texts=["a"]) == Question(("a",))
    words = dataclasses.replace(WRITES, signatures=WRITER | {"w": doc(fields.SENTENCE)})
    assert question_for(words, texts=["a"]) == Question(("a",))
    with pytest.raises(UserError, match="answers prompts; give --prompt"):
        question_for(words)


@pytest.mark.parametrize(
    ("info", "asked", "message"),
    [
        (INFO, {"prompt": "x"}, "answers no prompts"),
        (INFO, {"language": "de"}, "answers no prompts"),
        (WRITES, {}, "answers prompts; give --prompt, or --language for 'alt_text in"),
        (WRITES, {"prompt": "{lang}?"}, "do not fit together"),
        (WRITES, {"prompt": "what?", "language": "de"}, "do not fit together"),
        (WRITES, {"language": "fr"}, "--language=fr is none .* they are en, de"),
        (dataclasses.replace(WRITES, default_prompt=""), {"language": "de"}, "give --prompt \\("),
    ],
)
def test_prompts_that_a_model_does_not_take(info, asked, message):
    with pytest.raises(UserError, match=message):
        question_for(info, **asked)


@pytest.mark.parametrize("num_frames, frames, is_still", [(8, 8, False), (0, 1, True)])
def test_a_model_of_stills_alone_sees_the_middle_of_a_video(num_frames, frames, is_still):
    info = dataclasses.replace(INFO, num_frames=num_frames, image_height=48, image_width=64)
    found = types.SimpleNamespace(
        frames_jpeg=[bytes([number]) for number in range(11)],
        waveform=None,
        warnings=(),
        info=types.SimpleNamespace(is_image=False),
    )
    clip = media_requests.decode("clip.mp4", info, 10.0, _Decoder(found))
    assert (len(clip.frames_jpeg), clip.is_still) == (frames, is_still)
    assert clip.frames_jpeg[frames // 2] == bytes([5])


@pytest.mark.parametrize(
    "answer, code",
    [
        (DecoderError("clip_media failed in the child:\nIndexError: 7"), "decoder_crashed"),
        (Reject(RejectCode.TRUNCATED, "12 of 50 frames"), "truncated"),
    ],
)
def test_what_cannot_be_decoded_is_the_users_file_not_a_crash(answer, code):
    with pytest.raises(UserError, match=rf"clip\.mp4 cannot be decoded \({code}: "):
        media_requests.decode("clip.mp4", INFO, 10.0, _Decoder(answer))


def test_the_region_of_the_records_is_cut_from_what_clients_send(tmp_path):
    info = dataclasses.replace(INFO, region=[0.5, 0.25, 0.25, 0.5])
    read_back = parse_model_info(info.to_json(), "info")
    asked = []

    class Recorder:
        def run(self, function, path, request):
            asked.append(request)
            return Reject(RejectCode.TRUNCATED, "enough")

    with pytest.raises(UserError):
        media_requests.decode("clip.mp4", read_back, 10.0, Recorder())
    assert asked[0].region == (0.5, 0.25, 0.25, 0.5) and asked[0].short_side == 32


def test_the_region_must_be_one(tmp_path):
    def inputs(*regions):
        datasets = {}
        for number, region in enumerate(regions):
            folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            content = {"media": {"frame_rate_hz": 8.0, "region": region}}
            (folder / "dataset_info.json").write_text(json.dumps(content))
            datasets[str(number)] = types.SimpleNamespace(path=str(folder))
        return types.SimpleNamespace(datasets=datasets)

    assert stored_region(inputs([0, 0, 1, 0.5], [0.0, 0.0, 1.0, 0.5])) == [0, 0, 1, 0.5]
    assert stored_region(inputs(None, None)) is None
    with pytest.raises(UserError, match="different regions"):
        stored_region(inputs(None, [0, 0, 1, 0.5]))
