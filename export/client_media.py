"""A media file as the arrays that signatures take, with the pipeline's own decoder."""

import dataclasses
from collections.abc import Collection

import numpy as np

from export.arrays import object_array
from export.model_info import ModelInfo
from mm_models.errors import UserError

JPEG_QUALITY = 95
MAX_PIXELS = 64 * 2**20
MEMORY_BYTES = 4 * 2**30
# Signatures that take a file, by what of it they take, and those that also take sentences.
SIGNATURES = {
    "image": ("encode_image",),
    "video": ("embed_video_jpeg", "classify_video_jpeg", "encode_video"),
    "audio": ("embed_audio", "classify_audio", "encode_audio"),
}
WITH_TEXTS = {
    "image": ("similarity_image",),
    "video": ("similarity", "similarity_video"),
    "audio": ("similarity_audio",),
}
# Trained classifiers of a kind are named by this and the classifier's name.
CLASSIFIERS = "classify_{kind}_as_"


@dataclasses.dataclass(frozen=True)
class Clip:
    """One decoded file.

    Attributes:
        frames_jpeg: JPEG frames at the model's rate, None without video.
        waveform: float32[samples] at the model's rate, None without sound.
        warnings: what the decoder had to mend.
        is_still: whether the frames are one picture.
    """

    frames_jpeg: list[bytes] | None
    waveform: np.ndarray | None
    warnings: tuple[str, ...] = ()
    is_still: bool = False


def isolated_decoder(timeout_seconds: float):
    """A decoder in a child process that can be killed; a context manager."""
    from beam_pipelines.media.isolated import IsolatedDecoder

    return IsolatedDecoder(timeout_seconds=timeout_seconds, memory_bytes=MEMORY_BYTES)


def decode(path: str, info: ModelInfo, max_seconds: float, decoder) -> Clip:
    """Decodes a media file at the rates of the model.

    Args:
        path: local file.
        info: rates and sizes.
        max_seconds: longest file accepted.
        decoder: from `isolated_decoder`, entered.

    Raises:
        UserError: with the reject code when the file cannot be decoded.
    """
    from beam_pipelines.media.isolated import DecoderError
    from beam_pipelines.media.types import DecodeRequest
    from beam_pipelines.rejects import Reject, RejectCode

    request = DecodeRequest(
        frame_rate_hz=info.frame_rate_hz or None,
        short_side=max(min(info.height, info.width), min(info.image_height, info.image_width))
        or None,
        region=None if info.region is None else tuple(info.region),
        sample_rate_hz=info.sample_rate_hz or None,
        jpeg_quality=JPEG_QUALITY,
        max_seconds=max_seconds,
        max_pixels=MAX_PIXELS,
        want_video=info.num_frames > 0 or info.image_height > 0,
        want_audio=info.num_samples > 0,
    )
    try:
        media = decoder.run("clip_media", path, request)
    except DecoderError as error:
        # A file that brings out a defect in the decoder must not end a server's request in a crash.
        media = Reject(RejectCode.DECODER_CRASHED, str(error).strip().splitlines()[-1])
    if isinstance(media, Reject):
        raise UserError(
            f"{path} cannot be decoded ({media.code.value}: {media.detail}); "
            "give an intact video, image or sound file"
        )
    # A model of stills alone looks at the middle of a video.
    length = info.num_frames or 1
    frames = _central(media.frames_jpeg, length) if media.frames_jpeg else None
    waveform = None
    if media.waveform is not None and len(media.waveform):
        waveform = _central(media.waveform, info.num_samples)
    is_still = media.info.is_image or not info.num_frames
    return Clip(frames, waveform, tuple(media.warnings), is_still)


def _central(sequence, length: int):
    """What the graph would choose; the rest need not travel."""
    start = max((len(sequence) - length) // 2, 0)
    return sequence[start : start + length]


def requests_for(
    clip: Clip, texts: list[str], signatures: Collection[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Signature name → arrays of one row, for everything the clip and the model share.

    A still goes to the signatures of stills where the model has those, else to those of video, as a
    clip of one frame.
    """
    sent: dict[str, dict[str, np.ndarray]] = {}
    if clip.frames_jpeg:
        frames = object_array(clip.frames_jpeg)
        if clip.is_still and SIGNATURES["image"][0] in signatures:
            sent["image"] = {"image_jpeg": frames[:1]}
        else:
            sent["video"] = {"frames_jpeg": frames[None]}
    if clip.waveform is not None:
        sent["audio"] = {"waveform": np.asarray(clip.waveform, np.float32)[None]}
    requests: dict[str, dict[str, np.ndarray]] = {}
    for kind, arrays in sent.items():
        trained = [n for n in signatures if n.startswith(CLASSIFIERS.format(kind=kind))]
        requests |= dict.fromkeys([*SIGNATURES[kind], *trained], arrays)
        if texts:
            encoded = object_array([text.encode() for text in texts])[None]
            requests |= dict.fromkeys(WITH_TEXTS[kind], arrays | {"texts": encoded})
    return {name: arrays for name, arrays in requests.items() if name in signatures}
