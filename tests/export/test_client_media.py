"""What clients and the server do with a file that the decoder cannot take."""

import dataclasses
import json
import types

import numpy as np
import pytest

from beam_pipelines.media.isolated import DecoderError
from beam_pipelines.rejects import Reject, RejectCode
from export import client_media
from export.model_info import ModelInfo, parse_model_info
from export.run_facts import stored_region
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
        (True, ("classify_video_jpeg", "classify_audio"), {"classify_video_jpeg"}),
    ],
)
def test_stills_go_to_the_signatures_of_stills_where_there_are_some(is_still, signatures, expected):
    clip = client_media.Clip([b"a", b"b"], None, is_still=is_still)
    requests = client_media.requests_for(clip, ["words"], signatures)
    assert set(requests) == expected
    for name, arrays in requests.items():
        for_image = "image" in name
        assert arrays["image_jpeg" if for_image else "frames_jpeg"].shape == (
            (1,) if for_image else (1, 2)
        )
        assert ("texts" in arrays) == name.startswith("similarity")


def test_sounds_go_to_the_classifiers_of_sounds():
    clip = client_media.Clip(None, np.zeros(5, np.float32))
    requests = client_media.requests_for(clip, [], STILLS_AND_CLIPS)
    assert set(requests) == {"encode_audio", "classify_audio_as_digits"}
    assert requests["encode_audio"]["waveform"].shape == (1, 5)


@pytest.mark.parametrize("num_frames, frames, is_still", [(8, 8, False), (0, 1, True)])
def test_a_model_of_stills_alone_sees_the_middle_of_a_video(num_frames, frames, is_still):
    info = dataclasses.replace(INFO, num_frames=num_frames, image_height=48, image_width=64)
    found = types.SimpleNamespace(
        frames_jpeg=[bytes([number]) for number in range(11)],
        waveform=None,
        warnings=(),
        info=types.SimpleNamespace(is_image=False),
    )
    clip = client_media.decode("clip.mp4", info, 10.0, _Decoder(found))
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
        client_media.decode("clip.mp4", INFO, 10.0, _Decoder(answer))


def test_the_region_of_the_records_is_cut_from_what_clients_send(tmp_path):
    info = dataclasses.replace(INFO, region=[0.5, 0.25, 0.25, 0.5])
    read_back = parse_model_info(info.to_json(), "info")
    asked = []

    class Recorder:
        def run(self, function, path, request):
            asked.append(request)
            return Reject(RejectCode.TRUNCATED, "enough")

    with pytest.raises(UserError):
        client_media.decode("clip.mp4", read_back, 10.0, Recorder())
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
