"""What clients and the server do with a file that the decoder cannot take."""

import dataclasses
import json
import types

import numpy as np
import pytest

from beam_pipelines.media.isolated import DecoderError
from beam_pipelines.rejects import Reject, RejectCode
from export.client import media_requests
from export.client.questions import Words, words_for
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
    outputs={},
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


STILLS_AND_CLIPS = (
    "encode_image", "similarity_image", "classify_image_as_digits", "classify_image_with_labels",
    "encode_video", "similarity_video", "encode_audio", "classify_audio_as_digits",
)  # fmt: skip


@pytest.mark.parametrize(
    ("is_still", "signatures", "expected"),
    [
        (True, STILLS_AND_CLIPS, {"encode_image", "similarity_image", "classify_image_as_digits"}),
        (False, STILLS_AND_CLIPS, {"encode_video", "similarity_video"}),
        (True, ("embed_video_jpeg", "similarity"), {"embed_video_jpeg", "similarity"}),
        (True, ("classify_video_jpeg", "similarity_audio"), {"classify_video_jpeg"}),
    ],
)
def test_stills_go_to_the_signatures_of_stills_where_there_are_some(is_still, signatures, expected):
    clip = media_requests.Clip([b"a", b"b"], None, is_still=is_still)
    requests = media_requests.requests_for(clip, Words(("words",)), signatures)
    assert set(requests) == expected
    for name, arrays in requests.items():
        for_image = "image" in name
        assert arrays["image_jpeg" if for_image else "frames_jpeg"].shape == (
            (1,) if for_image else (1, 2)
        )
        assert ("texts" in arrays) == name.startswith("similarity")


def test_sounds_go_to_the_classifiers_of_sounds():
    clip = media_requests.Clip(None, np.zeros(5, np.float32))
    requests = media_requests.requests_for(clip, Words(), STILLS_AND_CLIPS)
    assert set(requests) == {"encode_audio", "classify_audio_as_digits"}
    assert requests["encode_audio"]["waveform"].shape == (1, 5)


WRITER = (
    "generate", "generate_beams", "score_labels",
    "generate_video", "generate_beams_video", "score_labels_video",
    "generate_text", "generate_beams_text", "score_labels_text",
)  # fmt: skip


@pytest.mark.parametrize(
    ("clip", "labels", "expected"),
    [
        (media_requests.Clip([b"a"], None, is_still=True), (), WRITER[:2]),
        (media_requests.Clip([b"a"], None, is_still=True), ("x", "y"), WRITER[:3]),
        (media_requests.Clip([b"a", b"b"], None), ("x",), WRITER[3:6]),
        (None, ("x",), WRITER[6:]),
    ],
)
def test_prompts_go_with_what_is_given(clip, labels, expected):
    requests = media_requests.requests_for(clip, Words((), "what?", labels, seed=3), WRITER)
    assert tuple(requests) == expected
    for name, arrays in requests.items():
        assert arrays["prompt"].tolist() == [b"what?"]
        assert ("seed" in arrays) == name.startswith("generate") - name.startswith("generate_b")
        assert ("labels" in arrays) == name.startswith("score")
    if labels:
        scored = requests[expected[-1]]["labels"].tolist()
        assert scored == [[label.encode() for label in labels]]


@pytest.mark.parametrize(
    ("clip", "words", "signatures", "message"),
    [
        (media_requests.Clip([b"a"], None, is_still=True), Words((), "p"), WRITER[6:], "no stream"),
        (None, Words((), "p"), WRITER[:3], "give --image"),
        (None, Words(("t",), "p"), WRITER, "compares nothing"),
        (media_requests.Clip([b"a"], None), Words(labels=("x",)), ("encode_video",), "no --label"),
    ],
)
def test_what_no_signature_takes_is_refused(clip, words, signatures, message):
    with pytest.raises(UserError, match=message):
        media_requests.requests_for(clip, words, signatures)


WRITES = dataclasses.replace(
    INFO,
    system="pali",
    decoding={"method": "greedy"},
    languages={"en": "EN", "de": "DE"},
    prompts={"captioning": "alt_text in {lang} at {pos}: <extra_id_0>"},
)


def test_prompts_take_the_name_of_the_language():
    caption = words_for(WRITES, language="de", labels=["x"])
    assert caption == Words((), "alt_text in DE at 0: <extra_id_0>", ("x",), None)
    question = words_for(WRITES, prompt="In {lang}: what?", language="en", seed=5)
    assert question.prompt == "In EN: what?" and question.seed is None
    draws = dataclasses.replace(WRITES, decoding={"method": "sample"})
    assert words_for(draws, prompt="what?", seed=5).seed == 5
    assert words_for(INFO, texts=["a"]) == Words(("a",))


@pytest.mark.parametrize(
    ("info", "asked", "message"),
    [
        (INFO, {"prompt": "x"}, "answers no prompts"),
        (INFO, {"language": "de"}, "answers no prompts"),
        (WRITES, {}, "answers prompts; give --prompt, or --language for a caption"),
        (WRITES, {"prompt": "{lang}?"}, "do not fit together"),
        (WRITES, {"prompt": "what?", "language": "de"}, "do not fit together"),
        (WRITES, {"language": "fr"}, "--language=fr is none .* they are en, de"),
        (dataclasses.replace(WRITES, prompts={}), {"language": "de"}, "give --prompt \\("),
    ],
)
def test_prompts_that_a_model_does_not_take(info, asked, message):
    with pytest.raises(UserError, match=message):
        words_for(info, **asked)


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
