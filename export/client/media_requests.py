"""A media file as the arrays that signatures take, with the pipeline's own decoder."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from export.client.questions import Words
from export.client.string_arrays import object_array
from export.version.model_info import ModelInfo
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
# Those that also take names of classes.
WITH_LABELS = {kind: (f"classify_{kind}_with_labels",) for kind in SIGNATURES}
# What the names of signatures that answer prompts end in, by what comes with the prompt.
PROMPTED = {"image": "", "video": "_video", "none": "_text"}
WRITERS = ("generate", "generate_beams")
SCORERS = ("score_labels",)
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


def decode(
    path: str, info: ModelInfo, max_seconds: float, decoder, *, only_stills: bool = False
) -> Clip:
    """Decodes a media file at the rates of the model.

    Args:
        path: local file.
        info: rates and sizes.
        max_seconds: longest file accepted.
        decoder: from `isolated_decoder`, entered.
        only_stills: refuse anything but a picture.

    Raises:
        UserError: with the reject code when the file cannot be decoded.
    """
    from beam_pipelines.media.decode_contract import DecodeRequest
    from beam_pipelines.media.isolated import DecoderError
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
    if only_stills and not media.info.is_image:
        raise UserError(f"--image={path} is no picture; give videos and sounds with --video")
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
    clip: Clip | None, words: Words, signatures: Collection[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Signature name → arrays of one row, for everything that clip, words and model share.

    A still goes to the signatures of stills where the model has those, else to those of video, as a
    clip of one frame.

    Args:
        clip: the decoded file; None where words are all there is.
        words: what is asked.
        signatures: names of those that the model has.

    Raises:
        UserError: something was given that no signature takes.
    """
    requests: dict[str, dict[str, np.ndarray]] = {}
    for kind, arrays in _media_arrays(clip, signatures).items():
        trained = [n for n in signatures if n.startswith(CLASSIFIERS.format(kind=kind))]
        requests |= dict.fromkeys([*SIGNATURES.get(kind, ()), *trained], arrays)
        if words.texts:
            texts = {"texts": _strings(words.texts)[None]}
            requests |= dict.fromkeys(WITH_TEXTS.get(kind, ()), arrays | texts)
        labels = {"labels": _strings(words.labels)[None]}
        if words.labels:
            requests |= dict.fromkeys(WITH_LABELS.get(kind, ()), arrays | labels)
        if words.prompt and kind in PROMPTED:
            asked = arrays | {"prompt": _strings([words.prompt])}
            drawn = {} if words.seed is None else {"seed": np.array([words.seed], np.int32)}
            suffix = PROMPTED[kind]
            requests |= {f"{WRITERS[0]}{suffix}": asked | drawn, f"{WRITERS[1]}{suffix}": asked}
            if words.labels:
                requests |= {f"{name}{suffix}": asked | labels for name in SCORERS}
    requests = {name: arrays for name, arrays in requests.items() if name in signatures}
    _check_used(clip, words, requests, signatures)
    return requests


def _media_arrays(
    clip: Clip | None, signatures: Collection[str]
) -> dict[str, dict[str, np.ndarray]]:
    """What is sent of the clip, by kind; nothing, of the kind `none`, where there is no clip."""
    if clip is None:
        return {"none": {}}
    sent: dict[str, dict[str, np.ndarray]] = {}
    if clip.frames_jpeg:
        frames = object_array(clip.frames_jpeg)
        if clip.is_still and {*SIGNATURES["image"], WRITERS[0]} & set(signatures):
            sent["image"] = {"image_jpeg": frames[:1]}
        else:
            sent["video"] = {"frames_jpeg": frames[None]}
    if clip.waveform is not None:
        sent["audio"] = {"waveform": np.asarray(clip.waveform, np.float32)[None]}
    return sent


def _check_used(
    clip: Clip | None,
    words: Words,
    requests: dict[str, dict[str, np.ndarray]],
    signatures: Collection[str],
) -> None:
    known = f"it answers {', '.join(sorted(signatures))}"
    if clip is None and not requests:
        raise UserError(f"this model answers about files alone ({known}); give --image or --video")
    if not requests:
        raise UserError(f"the file has no stream that this model takes; {known}")
    taken = {name for arrays in requests.values() for name in arrays}
    compares = {name for names in WITH_TEXTS.values() for name in names} & set(signatures)
    if words.texts and not compares:
        raise UserError(f"this model compares nothing with sentences; {known}; leave --text out")
    if words.labels and "labels" not in taken:
        raise UserError(f"this model chooses no --label for this file; {known}; leave it out")


def _strings(texts: Sequence[str]) -> np.ndarray:
    return object_array([text.encode() for text in texts])
