"""A media file, decoded by the pipeline's own decoder, and words as requests to signatures.

What a signature takes and gives is all that is known of it: its name and its model do not matter.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from export import media_files
from export.client.questions import Question
from export.client.string_arrays import object_array, text_array
from export.signatures import fields
from export.signatures.fields import SignatureDoc
from export.version.model_info import ModelInfo
from mm_models.errors import UserError

JPEG_QUALITY = 95
MAX_PIXELS = 64 * 2**20
MEMORY_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Clip:
    """One decoded file.

    Attributes:
        frames_jpeg: JPEG frames at the model's rate, None without video.
        waveform: float32[samples] at the model's rate, None without sound.
        warnings: what the decoder had to mend.
        is_still: whether the frames are one picture.
        sample_rate_hz: of the waveform.
    """

    frames_jpeg: list[bytes] | None
    waveform: np.ndarray | None
    warnings: tuple[str, ...] = ()
    is_still: bool = False
    sample_rate_hz: int = 0


def isolated_decoder(timeout_seconds: float):
    """A decoder in a child process that can be killed; a context manager."""
    from beam_pipelines.media.isolated import IsolatedDecoder

    return IsolatedDecoder(
        cpu_seconds=timeout_seconds, wall_seconds=timeout_seconds, memory_bytes=MEMORY_BYTES
    )


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

    if not (info.num_frames or info.image_height or info.num_samples):
        raise UserError(
            f"the model of {info.experiment} takes neither pictures nor sounds, so that {path} is "
            "of no use to it; send what its signatures take, as its model card says"
        )
    request = DecodeRequest(
        frame_rate_hz=info.frame_rate_hz or None,
        short_side=max(min(info.height, info.width), min(info.image_height, info.image_width))
        or None,
        region=_region(info.region),
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
    frames = _CLIP_PARTS[info.clip_part](media.frames_jpeg, length) if media.frames_jpeg else None
    waveform = None
    if media.waveform is not None and len(media.waveform):
        waveform = _central(media.waveform, info.num_samples)
    is_still = media.info.is_image or not info.num_frames
    return Clip(frames, waveform, tuple(media.warnings), is_still, info.sample_rate_hz)


def _region(shares: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    if shares is None:
        return None
    top, left, height, width = shares
    return top, left, height, width


def _central(sequence, length: int):
    """What the graph would choose; the rest need not travel."""
    start = max((len(sequence) - length) // 2, 0)
    return sequence[start : start + length]


def _first(sequence, length: int):
    """The graph looks at no more."""
    return sequence[:length]


def _all(sequence, length: int):
    """The graph chooses among all of them."""
    return sequence


_CLIP_PARTS = {"central": _central, "first": _first, "all": _all}


def requests_for(
    clip: Clip | None, question: Question, signatures: Mapping[str, SignatureDoc]
) -> dict[str, dict[str, np.ndarray]]:
    """Signature name → arrays of one row, for everything that clip, question and model share.

    A signature is asked when clip and question fill all its inputs and, where there is a clip, it
    takes some of it. Of those that differ only in the form of their media, the form that costs
    least is asked. A still goes to the signatures of stills where the model has those, else to
    those of clips, as a clip of one frame.

    Args:
        clip: the decoded file; None where the question is all there is.
        question: what is asked.
        signatures: those that the model has.

    Raises:
        UserError: something was given that no signature takes.
    """
    media = _media_values(clip, signatures)
    values = media | _word_values(question)
    fillable = {
        name: doc
        for name, doc in signatures.items()
        if doc.input_kinds <= set(values) and (clip is None or doc.input_kinds & set(media))
    }
    chosen = _cheapest_forms(fillable)
    _check_used(clip, question, chosen, signatures)
    return {
        name: {key: values[field.kind]() for key, field in doc.inputs.items()}
        for name, doc in chosen.items()
    }


def _media_values(
    clip: Clip | None, signatures: Mapping[str, SignatureDoc]
) -> dict[str, Callable[[], np.ndarray]]:
    """Makers of what is sent of the clip, by kind: every form of each medium that it has."""
    if clip is None:
        return {}
    values: dict[str, Callable[[], np.ndarray]] = {}
    frames = clip.frames_jpeg
    if frames:
        kinds = {kind for doc in signatures.values() for kind in doc.input_kinds}
        if clip.is_still and kinds & set(fields.MEDIA["image"]):
            values[fields.ENCODED_PICTURE] = lambda: object_array(frames[:1])
            values[fields.PICTURE_PIXELS] = lambda: media_files.picture_pixels(frames[0])[None]
        else:
            values[fields.ENCODED_FRAMES] = lambda: object_array(frames)[None]
            values[fields.FRAME_PIXELS] = lambda: np.stack(
                [media_files.picture_pixels(frame) for frame in frames]
            )[None]
    if clip.waveform is not None:
        waveform, rate = np.asarray(clip.waveform, np.float32), clip.sample_rate_hz
        values[fields.WAVEFORM] = lambda: waveform[None]
        values[fields.WAV_FILE] = lambda: object_array([media_files.wav_file(waveform, rate)])
    return values


def _word_values(question: Question) -> dict[str, Callable[[], np.ndarray]]:
    """Makers of what is sent of the words, by kind."""
    values = {fields.SEED: lambda: np.array([question.seed], np.int32)}
    if question.texts:
        values[fields.SENTENCES] = lambda: text_array(question.texts)[None]
    if len(question.texts) == 1:
        values[fields.SENTENCE] = lambda: text_array(question.texts)
    if question.labels:
        values[fields.CLASS_NAMES] = lambda: text_array(question.labels)[None]
    if question.prompt:
        values[fields.PROMPT] = lambda: text_array([question.prompt])
    if question.phrase:
        values[fields.PHRASE] = lambda: text_array([question.phrase])
    return values


def _cheapest_forms(signatures: Mapping[str, SignatureDoc]) -> dict[str, SignatureDoc]:
    """Those that no other does the same as with media in a form that costs less."""
    costs = {
        kind: (medium, cost)
        for medium, kinds in fields.MEDIA.items()
        for cost, kind in enumerate(kinds)
    }

    def same(doc: SignatureDoc) -> tuple:
        inputs = sorted(costs.get(kind, (kind, 0))[0] for kind in doc.input_kinds)
        return (*inputs, *sorted((name, field.kind) for name, field in doc.outputs.items()))

    def cost(doc: SignatureDoc) -> int:
        return sum(costs.get(kind, (kind, 0))[1] for kind in doc.input_kinds)

    least: dict[tuple, int] = {}
    for doc in signatures.values():
        least[same(doc)] = min(cost(doc), least.get(same(doc), cost(doc)))
    return {name: doc for name, doc in signatures.items() if cost(doc) == least[same(doc)]}


def _check_used(
    clip: Clip | None,
    question: Question,
    chosen: Mapping[str, SignatureDoc],
    signatures: Mapping[str, SignatureDoc],
) -> None:
    known = f"it answers {', '.join(sorted(signatures))}"
    taken = {kind for doc in chosen.values() for kind in doc.input_kinds}
    possible = {kind for doc in signatures.values() for kind in doc.input_kinds}
    alone = clip is None and fields.SENTENCE in possible and fields.SENTENCES not in taken
    if alone and len(question.texts) > 1:
        raise UserError(f"this model takes one --text at a time; {known}; give one")
    if clip is None and not chosen:
        raise UserError(f"this model answers about files alone ({known}); give --image or --video")
    if question.texts and not _takes_sentences(clip, signatures):
        raise UserError(f"this model compares nothing with sentences; {known}; leave --text out")
    if not chosen:
        raise UserError(f"the file has no stream that this model takes; {known}")
    if question.labels and fields.CLASS_NAMES not in taken:
        raise UserError(f"this model chooses no --label for this file; {known}; leave it out")
    if question.prompt and fields.PROMPT not in taken:
        raise UserError(f"this model answers no --prompt about this file; {known}; leave it out")
    if question.phrase and fields.PHRASE not in taken:
        raise UserError(f"this model finds no --phrase in this file; {known}; leave it out")


def _takes_sentences(clip: Clip | None, signatures: Mapping[str, SignatureDoc]) -> bool:
    """Whether a signature takes sentences, beside a file where there is one."""
    words = {fields.SENTENCE, fields.SENTENCES}
    media = {kind for kinds in fields.MEDIA.values() for kind in kinds}
    return any(
        doc.input_kinds & words and (clip is None or doc.input_kinds & media)
        for doc in signatures.values()
    )
