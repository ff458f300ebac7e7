"""What clients and the server do with a file that the decoder cannot take."""

import pytest

from beam_pipelines.media.isolated import DecoderError
from beam_pipelines.rejects import Reject, RejectCode
from export import client_media
from export.model_info import ModelInfo
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
