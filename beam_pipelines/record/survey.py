"""What records hold, ours or anybody's: keys, kinds of content, and which program's layout it is.

Imports neither Beam nor TensorFlow; readers and inspection look at records alike through it.
"""

import collections
import dataclasses
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from beam_pipelines.record import contract
from beam_pipelines.record.serialize import WireError, parse

_MAX_WORDS = 200
_MAX_WORD_BYTES = 200
_MAX_LISTS = 200
_MAX_LIST_LENGTH = 4
_SNIFFED_VALUES = 4
_KEPT_PICTURES = 16
_SHOWN_KEYS = 16
_SHOWN_WORDS = 6
_FEWEST_SAMPLES = 400
_MAGIC = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n"),
    ("GIF", rb"GIF8"),
    ("BMP", rb"BM.{4}\0{4}"),
    ("WebP", rb"RIFF.{4}WEBP"),
    ("WAV", rb"RIFF.{4}WAVE"),
    ("FLAC", rb"fLaC"),
    ("Ogg", rb"OggS"),
    ("MP3", rb"ID3|\xff[\xfb\xf3\xf2]"),
    ("MP4", rb".{4}ftyp"),
    ("Matroska", rb"\x1a\x45\xdf\xa3"),
    ("NumPy array", rb"\x93NUMPY"),
)
PICTURES = ("JPEG", "PNG", "GIF")
SOUND_FILES = ("WAV", "FLAC", "Ogg", "MP3", "MP4", "Matroska")
_COMPRESSIONS = (
    ("gzip", rb"\x1f\x8b\x08"),
    ("zlib", rb"\x78[\x01\x5e\x9c\xda]"),
    ("zstd", rb"\x28\xb5\x2f\xfd"),
)


def content_kind(value: bytes) -> str:
    """What a value is by its first bytes: a file format, `text`, or `bytes`."""
    for name, pattern in _MAGIC:
        if re.match(pattern, value, re.DOTALL):
            return name
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "bytes"
    return "bytes" if re.search(r"[\x00-\x08\x0e-\x1f]", text) else "text"


def unpacking(path: str, packed: str) -> str:
    """What to do with a shard that is compressed as a whole, as a sentence."""
    how = f" (`gzip -d < {path} > records.tfrecord`)" if packed == "gzip" else ""
    return (
        f"shard {path} is compressed with {packed} as a whole, but records are read from anywhere "
        f"in a file; unpack it{how} and name the unpacked file"
    )


def compression(header: bytes) -> str:
    """The format that a whole file is compressed in, by its first bytes; empty for none known.

    To be asked of what does not begin with a record.
    """
    return next((name for name, pattern in _COMPRESSIONS if re.match(pattern, header)), "")


@dataclasses.dataclass
class KeyFacts:
    """What is known of one key.

    Attributes:
        places: `context`, `feature_lists` or both.
        dtypes: `bytes`, `int64` and `float`, how many records have each.
        num_records: records that have a value.
        fewest, most: values of a record, over those that have one.
        kinds: of bytes, how many of the first values of each record are of which kind.
        pictures: first pictures of the first records.
        lowest, highest: of numbers.
        num_constant: records with several numbers that are all the same.
        words: short texts and how often they come, as far as there are not too many.
        lists: of whole numbers, short lists and how often they come, as far as likewise.
    """

    places: set[str] = dataclasses.field(default_factory=set)
    dtypes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    num_records: int = 0
    fewest: int = 0
    most: int = 0
    kinds: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    pictures: list[bytes] = dataclasses.field(default_factory=list)
    lowest: float = 0.0
    highest: float = 0.0
    num_constant: int = 0
    words: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lists: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def content(self) -> str:
        """The commonest kind of bytes, else the commonest dtype."""
        found = self.kinds.most_common(1) or self.dtypes.most_common(1)
        return found[0][0] if found else "empty"

    def add(self, place: str, values: list | np.ndarray) -> None:
        """Adds the values of one record; floats are an array."""
        self.places.add(place)
        if not len(values):
            return
        self.fewest = min(self.fewest, len(values)) if self.num_records else len(values)
        self.most = max(self.most, len(values))
        if isinstance(values[0], bytes):
            self.dtypes["bytes"] += 1
            self._add_bytes(values)
        else:
            is_whole = not isinstance(values, np.ndarray)
            self.dtypes["int64" if is_whole else "float"] += 1
            if is_whole and len(values) <= _MAX_LIST_LENGTH and len(self.lists) < _MAX_LISTS:
                self.lists[tuple(values)] += 1
            lowest, highest = float(np.min(values)), float(np.max(values))
            is_first = not self.num_records
            self.num_constant += len(values) > 1 and lowest == highest
            self.lowest = lowest if is_first else min(self.lowest, lowest)
            self.highest = highest if is_first else max(self.highest, highest)
        self.num_records += 1

    def _add_bytes(self, values: list[bytes]) -> None:
        kinds = [content_kind(value) for value in values[:_SNIFFED_VALUES]]
        self.kinds.update(kinds)
        if kinds[0] in PICTURES and len(self.pictures) < _KEPT_PICTURES:
            self.pictures.append(values[0])
        if "text" not in kinds:
            return
        for value in values:
            if len(value) <= _MAX_WORD_BYTES and len(self.words) < _MAX_WORDS:
                self.words[value.decode("utf-8", "replace")] += 1

    def describe(self) -> str:
        """`JPEG, 17 a record`, `int64, 0 to 9`, `text: "en", "de"`."""
        text = self.content
        if text in ("int64", "float"):
            text += f" {self.lowest:.4g} to {self.highest:.4g}"
        elif text == "text" and self.words:
            shown = ", ".join(repr(word[:40]) for word, _ in self.words.most_common(2))
            text += f" {shown}" + (", …" if len(self.words) > 2 else "")
        if self.most > 1:
            count = self.most if self.fewest == self.most else f"{self.fewest} to {self.most}"
            text += f", {count} a record"
        if self.num_constant:
            text += f", the same throughout in {self.num_constant} records"
        return text


@dataclasses.dataclass
class Survey:
    """Some records of a data set.

    Attributes:
        num_records: records looked at.
        num_unreadable: those of them that are neither `Example` nor `SequenceExample`.
        num_repeated: those of them that equal an earlier one.
        keys: by name.
    """

    num_records: int = 0
    num_unreadable: int = 0
    num_repeated: int = 0
    keys: dict[str, KeyFacts] = dataclasses.field(default_factory=dict)
    _seen: set[bytes] = dataclasses.field(default_factory=set)

    def add(self, content: bytes) -> None:
        """Looks at one serialized record."""
        self.num_records += 1
        digest = hashlib.sha256(content).digest()
        self.num_repeated += digest in self._seen
        self._seen.add(digest)
        try:
            context, lists = parse(content, floats_as_arrays=True)
        except WireError:
            self.num_unreadable += 1
            return
        for key, values in context.items():
            self.keys.setdefault(key, KeyFacts()).add("context", values)
        for key, steps in lists.items():
            self.keys.setdefault(key, KeyFacts()).add("feature_lists", _joined(steps))

    def has(self, key: str) -> bool:
        """Whether any record has a value of this name."""
        return key in self.keys and self.keys[key].num_records > 0

    def words(self, key: str) -> str:
        """Different texts of a key, commonest first, in words; an empty one is named so."""
        found = self.keys[key].words if key in self.keys else collections.Counter()
        shown = [repr(word) if word else "none given" for word, _ in found.most_common()]
        more = [f"{len(shown) - _SHOWN_WORDS} more"] if len(shown) > _SHOWN_WORDS else []
        return ", ".join(shown[:_SHOWN_WORDS] + more) or "none"

    def held(self) -> str:
        """The keys that have values, with their content, as a clause."""
        if self.num_records and self.num_unreadable == self.num_records:
            return "the records are no tf.train.Example or SequenceExample"
        filled = [key for key in sorted(self.keys) if self.has(key)]
        shown = [f"{key!r} ({self.keys[key].content})" for key in filled[:_SHOWN_KEYS]]
        more = [f"{len(filled) - len(shown)} more"] if len(filled) > len(shown) else []
        writer = layout(self.keys)
        made = f", in the layout of {writer}," if writer else ""
        return f"the records{made} hold {', '.join(shown + more) or 'no value at all'}"


def _joined(steps: list) -> list | np.ndarray:
    if steps and isinstance(steps[0], np.ndarray):
        return np.concatenate([np.asarray(step, np.float32) for step in steps])
    return [value for step in steps for value in step]


def survey(contents: Iterable[bytes]) -> Survey:
    """Looks at serialized records."""
    found = Survey()
    for content in contents:
        found.add(content)
    return found


_LAYOUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("`mmstack features`", (contract.FEATURE_SHAPE, contract.FEATURE_ENCODER)),
    ("`mmstack preprocess`", (contract.CLIP_KEY, contract.MEDIA_SHA256)),
    ("YouTube-8M", ("id", "labels", "rgb")),
    ("YouTube-8M", ("id", "labels", "mean_rgb")),
    ("AudioSet's features", ("video_id", "labels", "audio_embedding")),
    ("im2txt", ("image/image_id", "image/caption")),
    ("the TensorFlow object detection API", ("image/encoded", "image/object/bbox/xmin")),
    ("the TF-Slim image converters", ("image/encoded", "image/class/label")),
    ("MediaPipe or DMVR", ("image/encoded", "clip/label/index")),
    ("MediaPipe or DMVR", ("WAVEFORM/feature/floats",)),
    ("MediaPipe or DMVR", ("clip/data_path",)),
    ("TensorFlow Datasets", ("image", "label")),
    ("TensorFlow Datasets", ("video", "label")),
    ("TensorFlow Datasets", ("audio", "label")),
)


def layout(keys: Collection[str]) -> str:
    """Which program writes such keys; empty where they do not tell."""
    return next((name for name, marks in _LAYOUTS if set(marks) <= set(keys)), "")


@dataclasses.dataclass(frozen=True)
class _Rule:
    """How a foreign key that means one of ours looks: content, and a pattern of its name."""

    contents: tuple[str, ...]
    name: str
    most: int = 0
    fewest: int = 1

    def fits(self, key: str, facts: KeyFacts) -> bool:
        if not facts.num_records or facts.content not in self.contents:
            return False
        if (self.most and facts.most > self.most) or facts.most < self.fewest:
            return False
        return re.search(self.name, key.lower()) is not None


_TEXT, _INT = ("text",), ("int64",)
_RULES: dict[str, _Rule] = {
    contract.FRAMES: _Rule(PICTURES, ""),
    contract.WAVEFORM_FLOATS: _Rule(
        ("float",), r"audio|wave|sound|sample|pcm", fewest=_FEWEST_SAMPLES
    ),
    contract.LABEL_INDEX: _Rule(_INT, r"(label|class|category|target)(?!.*text)", most=100),
    contract.LABEL_TEXT: _Rule(_TEXT, r"(label|class|category|synset)"),
    contract.CAPTION: _Rule(_TEXT, r"caption|sentence|title|description|transcript|^text$|/text$"),
    contract.CAPTION_LANGUAGE: _Rule(_TEXT, r"lang"),
    contract.QUESTION: _Rule(_TEXT, r"question(?!.*(id|type|kind|lang))"),
    contract.ANSWER: _Rule(_TEXT, r"answer"),
    contract.SAMPLE_RATE: _Rule(_INT, r"sample_?rate|sampling_rate", most=1),
    contract.FRAME_RATE: _Rule(("float",), r"frame_?rate|fps", most=1),
    contract.CLIP_KEY: _Rule(_TEXT, r"(^|[/_])(id|key|name|filename|path)$|video_id", most=1),
}


def proposed_names(keys: Mapping[str, KeyFacts]) -> dict[str, str]:
    """`feature_names` for records of another layout: our key → theirs, where theirs looks like it.

    Keys of ours that the records have are left out; so are theirs that were given away already.
    """
    found: dict[str, str] = {}
    for ours, rule in _RULES.items():
        if ours in keys and keys[ours].num_records:
            continue
        fitting = [
            key
            for key, facts in keys.items()
            if rule.fits(key, facts) and key not in contract.FEATURES and key not in found.values()
        ]
        if fitting:
            found[ours] = min(fitting, key=lambda key: (-keys[key].num_records, len(key), key))
    return found
