"""What signatures take and give, by kind: what clients fill and show; imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Inputs.
ENCODED_PICTURE, PICTURE_PIXELS = "encoded_picture", "picture_pixels"
ENCODED_FRAMES, FRAME_PIXELS = "encoded_frames", "frame_pixels"
WAVEFORM, WAV_FILE = "waveform", "wav_file"
SENTENCE, SENTENCES, CLASS_NAMES = "sentence", "sentences", "class_names"
PROMPT, PHRASE, SEED = "prompt", "phrase", "seed"
FEATURE_MAPS, STEP_COUNT = "feature_maps", "step_count"
# Outputs.
EMBEDDING = "embedding"
SENTENCE_SCORES, CLASS_NAME_SCORES = "sentence_scores", "class_name_scores"
CLASS_NAME_FLAGS, CHOICE = "class_name_flags", "choice"
CLASS_SCORES, BEST_CLASSES, BEST_CLASS_SCORES = "class_scores", "best_classes", "best_class_scores"
TEXT, TEXT_SCORES, FLAG = "text", "text_scores", "flag"
BOXES, BOX_SCORES, BOX_WORDS = "boxes_yxyx_norm", "box_scores", "box_words"
POINT, MATCH_SCORE = "point_yx_norm", "match_score"
WORDS, WORD_SCORES, WORD_LEVELS = "words", "word_scores", "word_levels"
HEAT_MAP, SOUND, VIDEO = "heat_map", "sound", "video"
HEAT_MAPS, FRAME_SCORES, FRAME_NUMBER = "heat_maps", "frame_scores", "frame_number"
WORD_VECTORS, WORD_COUNT = "word_vectors", "word_count"
CODES, REGION_WEIGHTS = "codes", "region_weights"
# Either.
FEATURE_MAP, TOKENS = "feature_map", "tokens"

# Dtype, and axes behind the one of rows; a number is a fixed length.
INPUT_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    ENCODED_PICTURE: ("string", ()),
    PICTURE_PIXELS: ("uint8", ("height", "width", "3")),
    ENCODED_FRAMES: ("string", ("frames",)),
    FRAME_PIXELS: ("uint8", ("frames", "height", "width", "3")),
    WAVEFORM: ("float32", ("samples",)),
    WAV_FILE: ("string", ()),
    SENTENCE: ("string", ()),
    SENTENCES: ("string", ("texts",)),
    CLASS_NAMES: ("string", ("labels",)),
    PROMPT: ("string", ()),
    PHRASE: ("string", ()),
    SEED: ("int32", ()),
    FEATURE_MAPS: ("float32", ("steps", "rows", "columns", "dim")),
    STEP_COUNT: ("int32", ()),
    FEATURE_MAP: ("float32", ("rows", "columns", "dim")),
    TOKENS: ("int32", ("tokens",)),
}
OUTPUT_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    EMBEDDING: ("float32", ("dim",)),
    SENTENCE_SCORES: ("float32", ("texts",)),
    CLASS_NAME_SCORES: ("float32", ("labels",)),
    CLASS_NAME_FLAGS: ("bool", ("labels",)),
    CHOICE: ("string", ()),
    CLASS_SCORES: ("float32", ("classes",)),
    BEST_CLASSES: ("string", ("top",)),
    BEST_CLASS_SCORES: ("float32", ("top",)),
    TEXT: ("string", ()),
    TEXT_SCORES: ("float32", ()),
    FLAG: ("bool", ()),
    BOXES: ("float32", ("boxes", "4")),
    BOX_SCORES: ("float32", ("boxes",)),
    BOX_WORDS: ("string", ("boxes",)),
    POINT: ("float32", ("2",)),
    MATCH_SCORE: ("float32", ()),
    WORDS: ("string", ("words",)),
    WORD_SCORES: ("float32", ("words",)),
    WORD_LEVELS: ("string", ("words",)),
    HEAT_MAP: ("float32", ("height", "width")),
    HEAT_MAPS: ("float32", ("frames", "height", "width")),
    FRAME_SCORES: ("float32", ("frames",)),
    FRAME_NUMBER: ("int32", ()),
    FEATURE_MAP: ("float32", ("rows", "columns", "dim")),
    WORD_VECTORS: ("float32", ("words", "dim")),
    WORD_COUNT: ("int32", ()),
    SOUND: ("float32", ("samples",)),
    VIDEO: ("uint8", ("frames", "height", "width", "3")),
    CODES: ("int32", ("attentions", "heads", "tokens")),
    REGION_WEIGHTS: ("float32", ("attentions", "tokens", "steps", "rows", "columns")),
    TOKENS: ("int32", ("tokens",)),
}
# What a kind cannot be shown without.
REQUIRED_PROPERTIES = {
    CLASS_SCORES: ("class_names",),
    FLAG: ("note",),
    CLASS_NAME_FLAGS: ("note",),
    SOUND: ("sample_rate_hz",),
    VIDEO: ("frame_rate_hz",),
    CODES: ("attentions",),
    REGION_WEIGHTS: ("attentions",),
}
# Kinds that are one medium in several forms, the one that costs a client least first.
MEDIA = {
    "image": (ENCODED_PICTURE, PICTURE_PIXELS),
    "video": (ENCODED_FRAMES, FRAME_PIXELS),
    "audio": (WAVEFORM, WAV_FILE),
}


@dataclasses.dataclass(frozen=True)
class Field:
    """One input or output of a signature.

    Attributes:
        kind: what it is; one that this module does not know is shown as plain values.
        dtype: TensorFlow's name, such as `uint8` or `string`.
        axes: names of the axes, or their lengths where these are fixed; the first is `batch`.
        meaning: for people, with units.
        properties: what the kind is shown with: `sample_rate_hz` of a sound, `frame_rate_hz` of a
            video, `class_names` of scores of classes in their order, `note` of a flag, which is
            printed where it is set and in which `{}` stands for a class's name, `attentions` of
            codes and region weights, which are those of each in this order, `frame` of what is
            drawn into one frame of a clip: the output that is its number among those that the model
            sees.
    """

    kind: str
    dtype: str
    axes: tuple[str, ...]
    meaning: str
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        lacking = set(REQUIRED_PROPERTIES.get(self.kind, ())) - set(self.properties)
        if lacking:
            raise ValueError(f"a field of kind {self.kind!r} lacks the properties {lacking}")

    def describe(self) -> str:
        """Such as `uint8[batch, height, width, 3]`."""
        return f"{self.dtype}[{', '.join(self.axes)}]"

    @property
    def lengths(self) -> list[int | None]:
        """Lengths of the axes, None where any length goes."""
        return [int(axis) if axis.isdecimal() else None for axis in self.axes]


@dataclasses.dataclass(frozen=True)
class SignatureDoc:
    """What a person or a client has to know about one signature.

    Attributes:
        summary: one line.
        inputs: by name, in the order of the function's arguments.
        outputs: by name.
    """

    summary: str
    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]

    @property
    def input_kinds(self) -> set[str]:
        """Kinds of the inputs."""
        return {field.kind for field in self.inputs.values()}


def input_field(kind: str, meaning: str, axes: tuple[str, ...] | None = None) -> Field:
    """An input of a kind of this module; see `output_field`. Raises ValueError for another kind."""
    return _field(INPUT_KINDS, kind, meaning, axes)


def output_field(
    kind: str, meaning: str, axes: tuple[str, ...] | None = None, **properties: Any
) -> Field:
    """An output of a kind of this module.

    Args:
        kind: what it is.
        meaning: for people.
        axes: behind the one of rows, where they are other than the kind's.
        **properties: see `Field`.

    Raises:
        ValueError: another kind, or one that lacks a property.
    """
    return _field(OUTPUT_KINDS, kind, meaning, axes, **properties)


def _field(
    kinds: Mapping[str, tuple[str, tuple[str, ...]]],
    kind: str,
    meaning: str,
    axes: tuple[str, ...] | None = None,
    **properties: Any,
) -> Field:
    if kind not in kinds:
        raise ValueError(f"{kind!r} is no kind of field here; it must be one of {sorted(kinds)}")
    dtype, usual = kinds[kind]
    return Field(kind, dtype, ("batch", *(usual if axes is None else axes)), meaning, properties)


def docs_from_json(value: Mapping[str, Any]) -> dict[str, SignatureDoc]:
    """Signatures by name, of what `dataclasses.asdict` made of them.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return {
        name: SignatureDoc(doc["summary"], _fields(doc["inputs"]), _fields(doc["outputs"]))
        for name, doc in value.items()
    }


def _fields(value: Mapping[str, Any]) -> dict[str, Field]:
    return {name: Field(**{**one, "axes": tuple(one["axes"])}) for name, one in dict(value).items()}
