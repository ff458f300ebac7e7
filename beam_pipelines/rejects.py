"""Why an item or a clip did not become a record."""

import dataclasses
import enum


class RejectCode(enum.StrEnum):
    """Every reason there is; `rejects.jsonl` and the counters use the values."""

    FILE_MISSING = "file_missing"
    FILE_EMPTY = "file_empty"
    FILE_TOO_LARGE = "file_too_large"
    NOT_MEDIA = "not_media"
    NO_STREAMS = "no_streams"
    CORRUPT_CONTAINER = "corrupt_container"
    NO_FRAMES = "no_frames"
    NO_SAMPLES = "no_samples"
    ENCRYPTED = "encrypted"
    TRUNCATED = "truncated"
    CORRUPT_VIDEO = "corrupt_video"
    CORRUPT_AUDIO = "corrupt_audio"
    CORRUPT_IMAGE = "corrupt_image"
    UNSUPPORTED_CODEC = "unsupported_codec"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_SMALL = "too_small"
    TOO_MANY_PIXELS = "too_many_pixels"
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_MEMORY = "decode_memory"
    DECODER_CRASHED = "decoder_crashed"
    BAD_METADATA = "bad_metadata"
    BAD_CAPTIONS = "bad_captions"
    BAD_FEATURES = "bad_features"
    DUPLICATE_ID = "duplicate_id"


@dataclasses.dataclass(frozen=True)
class Reject:
    """A dead letter: `code` is counted, `detail` is one sentence for a person."""

    code: RejectCode
    detail: str
