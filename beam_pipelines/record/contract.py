"""The feature contract between the pipelines that write records and the readers that train on them.

A record is one clip: a `tf.train.SequenceExample` whose keys are the constants below. Imports
neither Beam nor TensorFlow.

All times are int64 microseconds on the clock of the media file (0 is its start), also in clips
that begin later: subtract `clip/start/timestamp` for a time in the clip. Utterances, phonemes and
objects outside the clip are left out, what straddles an end is cut there; captions are kept by
nearness and keep their own times, cut to the segment where an item is one. Labels and questions
hold for every clip of their item.

Lists of frames, sound and per-frame object columns are absent where the clip has none, as is the
group of an item that names none; other context lists are then present and empty.

Rows of `object/phrase/...` with the same text, sentence and first word are one phrase that several
objects have; a phrase whose objects have no box in any frame cannot be found in the picture.

`features/...` are what a frozen encoder made of a clip, or another program stored of it: a grid of
vectors at each step, whose order is row by row, in a row column by column. Their keys are absent,
in the context too, from records that have none. One vector a step is a grid of 1 x 1.
"""

import dataclasses

FRAMES = "image/encoded"
FRAME_TIMESTAMPS = "image/timestamp"
WAVEFORM_FLOATS = "WAVEFORM/feature/floats"
WAVEFORM_PCM16 = "WAVEFORM/encoded"

CLIP_KEY = "clip/key"
CLIP_START = "clip/start/timestamp"
CLIP_END = "clip/end/timestamp"
CLIP_GROUP = "clip/group"
CLIP_GROUP_INDEX = "clip/group_index"
LABEL_INDEX = "clip/label/index"
LABEL_TEXT = "clip/label/text"

CAPTION = "caption/string"
CAPTION_LANGUAGE = "caption/language"
CAPTION_STYLE = "caption/style"
CAPTION_RELATION = "caption/relation"
CAPTION_START = "caption/start/timestamp"
CAPTION_END = "caption/end/timestamp"

MEDIA_FILENAME = "video/filename"
MEDIA_SHA256 = "media/sha256"
SOURCE_PROPERTIES = "media/properties"
FRAME_RATE = "video/frame_rate_hz"
NUM_FRAMES = "video/num_frames"
HEIGHT = "video/height"
WIDTH = "video/width"
SAMPLE_RATE = "audio/sample_rate_hz"
NUM_SAMPLES = "audio/num_samples"
AUDIO_PEAK = "audio/peak"

UTTERANCE_TEXT = "utterance/text"
UTTERANCE_LANGUAGE = "utterance/language"
UTTERANCE_VOICE = "utterance/voice"
UTTERANCE_START = "utterance/start/timestamp"
UTTERANCE_END = "utterance/end/timestamp"
PHONEME_SYMBOL = "phoneme/symbol"
PHONEME_START = "phoneme/start/timestamp"
PHONEME_END = "phoneme/end/timestamp"

QUESTION = "question/string"
ANSWER = "question/answer"
QUESTION_KIND = "question/kind"
QUESTION_LANGUAGE = "question/language"

OBJECT_ID = "object/id"
OBJECT_LABEL_INDEX = "object/label/index"
OBJECT_LABEL_TEXT = "object/label/text"
OBJECT_PHRASE = "object/phrase/string"
OBJECT_PHRASE_LANGUAGE = "object/phrase/language"
OBJECT_PHRASE_OBJECT = "object/phrase/object_id"
OBJECT_PHRASE_SENTENCE = "object/phrase/sentence"
OBJECT_PHRASE_FIRST_WORD = "object/phrase/first_word"
RELATION_SUBJECT = "relation/subject_id"
RELATION_PREDICATE = "relation/predicate"
RELATION_OBJECT = "relation/object_id"
OBJECT_BOXES = "object/boxes_yxyx_norm"
OBJECT_VISIBILITY = "object/visibility"
OBJECT_DEPTH = "object/depth"
OBJECT_DIRECTION = "object/direction"

CLIP_FEATURES = "features/floats"
FEATURE_POSITIONS = "features/positions"
FEATURE_TIMESTAMPS = "features/timestamp"
FEATURE_SHAPE = "features/shape"
FEATURE_RATE = "features/rate_hz"
FEATURE_ENCODER = "features/encoder"
# Numbers that say where a vector of features lies.
POSITION_COLUMNS = ("t", "x0", "x1", "y0", "y1")


@dataclasses.dataclass(frozen=True)
class Feature:
    """One entry of the contract.

    Attributes:
        where: `context`, or `feature_lists` (one `Feature` per step of the first axis).
        dtype: `bytes`, `int64` or `float`.
        axes: names of the axes, outermost first; empty for a scalar.
        unit: unit or encoding of the values.
        meaning: one line, with the range where there is one.
    """

    where: str
    dtype: str
    axes: tuple[str, ...]
    unit: str
    meaning: str


def _context(dtype: str, axes: tuple[str, ...], unit: str, meaning: str) -> Feature:
    return Feature("context", dtype, axes, unit, meaning)


def _per_frame(dtype: str, axes: tuple[str, ...], unit: str, meaning: str) -> Feature:
    return Feature("feature_lists", dtype, ("frames", *axes), unit, meaning)


def _per_step(dtype: str, axes: tuple[str, ...], unit: str, meaning: str) -> Feature:
    return Feature("feature_lists", dtype, ("steps", *axes), unit, meaning)


_CAPTIONS, _OBJECTS, _PHRASES = ("captions",), ("objects",), ("phrases",)
_UTTERANCES, _PHONEMES = ("utterances",), ("phonemes",)
_QUESTIONS, _RELATIONS = ("questions",), ("relations",)

FEATURES: dict[str, Feature] = {
    FRAMES: _per_frame("bytes", (), "JPEG", "one RGB frame; absent in clips without video"),
    FRAME_TIMESTAMPS: _per_frame("int64", (), "us", "presentation time of each stored frame"),
    WAVEFORM_FLOATS: Feature(
        "feature_lists", "float", ("one", "samples"), "", "mono waveform in [-1, 1]"
    ),
    WAVEFORM_PCM16: Feature(
        "feature_lists", "bytes", ("one",), "int16 little-endian", "mono waveform, value / 32768"
    ),
    CLIP_KEY: _context("bytes", (), "", "unique key: item id, '#', clip number"),
    CLIP_START: _context("int64", (), "us", "start of the clip in the media file"),
    CLIP_END: _context("int64", (), "us", "end of the clip in the media file"),
    CLIP_GROUP: _context(
        "bytes", (), "", "the whole that the item is a part of, such as a video in segments"
    ),
    CLIP_GROUP_INDEX: _context("int64", (), "", "place of the item in its group, from 0"),
    LABEL_INDEX: _context("int64", ("labels",), "", "class ids; several for multi-label data"),
    LABEL_TEXT: _context("bytes", ("labels",), "utf-8", "class names"),
    CAPTION: _context("bytes", _CAPTIONS, "utf-8", "captions, nearest in time first"),
    CAPTION_LANGUAGE: _context("bytes", _CAPTIONS, "BCP 47", "language, empty when unknown"),
    CAPTION_STYLE: _context("bytes", _CAPTIONS, "", "style given by the source, may be empty"),
    CAPTION_RELATION: _context(
        "bytes", _CAPTIONS, "", "moment, neighbour, wrong (planted noise), or empty when unknown"
    ),
    CAPTION_START: _context("int64", _CAPTIONS, "us", "start, -1 when the caption has no time"),
    CAPTION_END: _context("int64", _CAPTIONS, "us", "end, -1 when the caption has no time"),
    MEDIA_FILENAME: _context("bytes", (), "utf-8", "media path as the manifest gives it"),
    MEDIA_SHA256: _context("bytes", (), "hex", "hash of the media file"),
    SOURCE_PROPERTIES: _context(
        "bytes", ("properties",), "", "what of the source changes pictures or sound, such as alpha"
    ),
    FRAME_RATE: _context("float", (), "Hz", "rate of the stored frames; 0 without video"),
    NUM_FRAMES: _context("int64", (), "", "stored frames"),
    HEIGHT: _context("int64", (), "pixels", "height of the stored frames"),
    WIDTH: _context("int64", (), "pixels", "width of the stored frames"),
    SAMPLE_RATE: _context("int64", (), "Hz", "rate of the stored waveform; 0 without audio"),
    NUM_SAMPLES: _context("int64", (), "", "stored samples"),
    AUDIO_PEAK: _context(
        "float", (), "", "largest magnitude before the waveform was limited to 1; 0 without audio"
    ),
    UTTERANCE_TEXT: _context("bytes", _UTTERANCES, "utf-8", "what is said"),
    UTTERANCE_LANGUAGE: _context("bytes", _UTTERANCES, "BCP 47", "language spoken"),
    UTTERANCE_VOICE: _context("bytes", _UTTERANCES, "", "speaker or voice name"),
    UTTERANCE_START: _context("int64", _UTTERANCES, "us", "start"),
    UTTERANCE_END: _context("int64", _UTTERANCES, "us", "end"),
    PHONEME_SYMBOL: _context("bytes", _PHONEMES, "utf-8", "phoneme mnemonic of the synthesiser"),
    PHONEME_START: _context("int64", _PHONEMES, "us", "start"),
    PHONEME_END: _context("int64", _PHONEMES, "us", "end"),
    QUESTION: _context("bytes", _QUESTIONS, "utf-8", "question about the clip"),
    ANSWER: _context("bytes", _QUESTIONS, "utf-8", "its answer"),
    QUESTION_KIND: _context("bytes", _QUESTIONS, "", "question type, for per-type scores"),
    QUESTION_LANGUAGE: _context("bytes", _QUESTIONS, "BCP 47", "language of the question"),
    OBJECT_ID: _context("int64", _OBJECTS, "", "object ids, the order of the per-frame columns"),
    OBJECT_LABEL_INDEX: _context("int64", _OBJECTS, "", "class ids of the objects"),
    OBJECT_LABEL_TEXT: _context("bytes", _OBJECTS, "utf-8", "class names of the objects"),
    OBJECT_PHRASE: _context("bytes", _PHRASES, "utf-8", "referring phrases"),
    OBJECT_PHRASE_LANGUAGE: _context("bytes", _PHRASES, "BCP 47", "language of each phrase"),
    OBJECT_PHRASE_OBJECT: _context("int64", _PHRASES, "", "id of the object each phrase refers to"),
    OBJECT_PHRASE_SENTENCE: _context(
        "bytes", _PHRASES, "utf-8", "sentence that each phrase stands in, empty without one"
    ),
    OBJECT_PHRASE_FIRST_WORD: _context(
        "int64",
        _PHRASES,
        "",
        "place of its first word among the sentence's, split at white space; -1 without one",
    ),
    RELATION_SUBJECT: _context("int64", _RELATIONS, "", "object id of the subject"),
    RELATION_PREDICATE: _context("bytes", _RELATIONS, "", "predicate, such as left_of"),
    RELATION_OBJECT: _context("int64", _RELATIONS, "", "object id of the object"),
    OBJECT_BOXES: _per_frame(
        "float", ("objects_x_4",), "normalised", "y0, x0, y1, x1 per object; zeros when absent"
    ),
    OBJECT_VISIBILITY: _per_frame(
        "float", _OBJECTS, "", "share of the object's ink that is visible, 0 when absent"
    ),
    OBJECT_DEPTH: _per_frame(
        "int64", _OBJECTS, "", "layer order, 0 is nearest the viewer; -1 absent"
    ),
    OBJECT_DIRECTION: _per_frame(
        "bytes", _OBJECTS, "", "direction of motion, `still` when none, empty when absent"
    ),
    CLIP_FEATURES: _per_step(
        "float", ("rows_x_columns_x_dim",), "", "features of the regions of a step, row by row"
    ),
    FEATURE_POSITIONS: _per_step(
        "float",
        ("rows_x_columns_x_5",),
        "steps, then shares of the picture",
        "t, x0, x1, y0, y1 of each region; t counts the steps of the clip from 0",
    ),
    FEATURE_TIMESTAMPS: _per_step("int64", (), "us", "start of each step"),
    FEATURE_SHAPE: _context("int64", ("three",), "", "rows, columns, dim of each step"),
    FEATURE_RATE: _context("float", (), "Hz", "steps per second; 0 when unknown"),
    FEATURE_ENCODER: _context(
        "bytes", (), "utf-8", "what computed the features: a name, `@`, and a digest"
    ),
}

# Published data sets name the same content differently; a data set's `feature_names` maps our key
# to theirs (see trainers/data/config.py).
DATASET_INFO = "dataset_info.json"
INDEX_SUFFIX = ".index"


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """File name of a shard: `train-00000-of-00010.tfrecord`."""
    return f"{split}-{shard:05d}-of-{num_shards:05d}.tfrecord"
