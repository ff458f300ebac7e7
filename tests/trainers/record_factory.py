"""Small synthetic record folders whose content tells frame, time and class, written without Beam.

Frame `f` of a clip with label `c` has red 20 + 12 f, green 20 + 20 c, blue 60 on its left half and
180 on its right half, so that pixels identify the frame, the class, and which side is which.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")


@dataclasses.dataclass
class Recipe:
    """What the records look like.

    Attributes:
        splits: records per split.
        num_shards: shards per split.
        num_frames, height, width, frame_rate_hz: video.
        sample_rate_hz: audio; a clip lasts `num_frames / frame_rate_hz` seconds.
        sound: `sine` (pitch tells the class) or `ramp` (the value tells the time: -0.5 to 0.5).
        audio_encoding: `floats` or `pcm16`.
        without_video, without_audio, without_captions: every n-th record lacks it; 0 for none.
        num_labels: classes, taken in turn by the records.
        features: rows, columns and dim of features; none where empty.
        feature_steps: steps that records have features of, in turn.
        phrases: whether a record has an object in its left half, with a phrase about it.
        clips_per_group: records that make a group, the last one first; 0 for no groups.
        key_names: our key -> the key written, for foreign records.
        with_info: whether to write dataset_info.json and the index files.
    """

    splits: dict[str, int] = dataclasses.field(default_factory=lambda: {"train": 32, "test": 16})
    num_shards: int = 2
    num_frames: int = 17
    height: int = 32
    width: int = 32
    frame_rate_hz: float = 8.0
    sample_rate_hz: int = 8000
    sound: str = "sine"
    audio_encoding: str = "floats"
    without_video: int = 0
    without_audio: int = 0
    without_captions: int = 0
    num_labels: int = 10
    features: tuple[int, ...] = ()
    feature_steps: tuple[int, ...] = (3,)
    phrases: bool = False
    clips_per_group: int = 0
    key_names: dict[str, str] = dataclasses.field(default_factory=dict)
    with_info: bool = True


def write_record_folder(folder: str | pathlib.Path, recipe: Recipe | None = None) -> str:
    """Writes a record folder (a local path, or a URL that tf.io.gfile can write). Returns it."""
    recipe, folder = recipe or Recipe(), str(folder)
    tf.io.gfile.makedirs(folder)
    splits = {split: _write_split(folder, split, recipe) for split in recipe.splits}
    if recipe.with_info:
        _write_text(f"{folder}/{contract.DATASET_INFO}", json.dumps(_info(splits, recipe)))
        _write_text(f"{folder}/statistics.json", "{}")
        _write_text(f"{folder}/rejects.jsonl", "")
    return folder


def write_word_vocabulary(path: str | pathlib.Path) -> str:
    """Writes a word table that covers every caption. Returns its path."""
    words = [
        "<pad>",
        "<bos>",
        "<eos>",
        "<unk>",
        "a",
        "green",
        "digit",
        "moves",
        "something",
        "else",
    ]
    _write_text(str(path), "\n".join([*words, *WORDS, *GERMAN]) + "\n")
    return str(path)


def captions(label: int) -> list[tuple[str, str, str, str]]:
    """Text, style, language and relation of a clip's captions, nearest first."""
    return [
        (WORDS[label % 10], "single", "en", "moment"),
        (f"a green digit {WORDS[label % 10]} moves", "full", "en", "moment"),
        (GERMAN[label % 10], "single", "de", "moment"),
        ("something else moves", "full", "en", "neighbour"),
    ]


def frame_pixels(frame: int, label: int, height: int, width: int) -> np.ndarray:
    """uint8[height, width, 3] of one frame."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[..., 0] = 20 + 12 * (frame % 20)
    pixels[..., 1] = 20 + 20 * (label % 11)
    pixels[:, : width // 2, 2] = 60
    pixels[:, width // 2 :, 2] = 180
    return pixels


def waveform(label: int, recipe: Recipe) -> np.ndarray:
    """float32[samples] of a clip."""
    num_samples = round(recipe.num_frames / recipe.frame_rate_hz * recipe.sample_rate_hz)
    if recipe.sound == "ramp":
        return np.linspace(-0.5, 0.5, num_samples, dtype=np.float32)
    time_seconds = np.arange(num_samples) / recipe.sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * (200 + 60 * label) * time_seconds)).astype(np.float32)


def feature_values(number: int, recipe: Recipe) -> np.ndarray:
    """float32[steps, rows, columns, dim] of a clip; each value tells record and place."""
    steps = recipe.feature_steps[number % len(recipe.feature_steps)]
    places = np.arange(steps * np.prod(recipe.features), dtype=np.float32)
    return 1000 * number + places.reshape(steps, *recipe.features)


def feature_positions(steps: int, recipe: Recipe) -> np.ndarray:
    """float32[steps, rows, columns, 5]: t, x0, x1, y0, y1."""
    rows, columns, _ = recipe.features
    t, y, x = np.meshgrid(np.arange(steps), np.arange(rows), np.arange(columns), indexing="ij")
    edges = [t, x / columns, (x + 1) / columns, y / rows, (y + 1) / rows]
    return np.stack(edges, axis=-1).astype(np.float32)


def serialize(number: int, split: str, recipe: Recipe) -> bytes:
    """One record: a tf.train.SequenceExample with every key the pipelines write for such a clip."""
    example = tf.train.SequenceExample()
    label = number % recipe.num_labels
    has_video = not _lacks(number, recipe.without_video)
    has_audio = not _lacks(number, recipe.without_audio)
    texts = [] if _lacks(number, recipe.without_captions) else captions(label)
    key = functools.partial(_key, recipe)
    context = example.context.feature
    lists = example.feature_lists.feature_list
    _add_context(context, key, number, split, label, texts, recipe)
    _ints(context[key(contract.NUM_FRAMES)], [recipe.num_frames if has_video else 0])
    context[key(contract.FRAME_RATE)].float_list.value[:] = [
        recipe.frame_rate_hz if has_video else 0.0
    ]
    samples = waveform(label, recipe) if has_audio else np.zeros(0, np.float32)
    _ints(context[key(contract.SAMPLE_RATE)], [recipe.sample_rate_hz if has_audio else 0])
    _ints(context[key(contract.NUM_SAMPLES)], [len(samples)])
    for frame in range(recipe.num_frames if has_video else 0):
        encoded = _jpeg(frame, label, recipe.height, recipe.width)
        lists[key(contract.FRAMES)].feature.add().bytes_list.value[:] = [encoded]
        time_us = round(frame / recipe.frame_rate_hz * 1e6)
        _ints(lists[key(contract.FRAME_TIMESTAMPS)].feature.add(), [time_us])
    if has_audio and recipe.audio_encoding == "pcm16":
        pcm = np.round(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes()
        lists[key(contract.WAVEFORM_PCM16)].feature.add().bytes_list.value[:] = [pcm]
    elif has_audio:
        lists[key(contract.WAVEFORM_FLOATS)].feature.add().float_list.value[:] = samples
    if recipe.phrases:
        _add_object(context, lists, key, label, recipe)
    if recipe.features:
        _add_features(context, lists, key, feature_values(number, recipe), recipe)
    return example.SerializeToString(deterministic=True)


def write_shard(path: str, serialized: list[bytes], with_index: bool = True) -> list[int]:
    """Writes one TFRecord shard, with its index. Returns the record offsets and the end."""
    with tf.io.TFRecordWriter(path) as writer:
        for content in serialized:
            writer.write(content)
    offsets = np.cumsum([0] + [len(content) + 16 for content in serialized])
    if with_index:
        with tf.io.gfile.GFile(path + contract.INDEX_SUFFIX, "wb") as file:
            file.write(offsets.astype("<u8").tobytes())
    return offsets.tolist()


def _add_context(context, key, number, split, label, texts, recipe) -> None:
    duration_us = round(recipe.num_frames / recipe.frame_rate_hz * 1e6)
    _bytes(context[key(contract.CLIP_KEY)], [f"{split}/{number:06d}#0"])
    _bytes(context[key(contract.MEDIA_FILENAME)], [f"media/{split}/{number:06d}.mp4"])
    _bytes(context[key(contract.MEDIA_SHA256)], [hashlib.sha256(str(number).encode()).hexdigest()])
    _ints(context[key(contract.CLIP_START)], [0])
    _ints(context[key(contract.CLIP_END)], [duration_us])
    if recipe.clips_per_group:
        group, place = divmod(number, recipe.clips_per_group)
        _bytes(context[key(contract.CLIP_GROUP)], [f"film {group}"])
        _ints(context[key(contract.CLIP_GROUP_INDEX)], [recipe.clips_per_group - 1 - place])
    _ints(context[key(contract.LABEL_INDEX)], [label])
    _bytes(context[key(contract.LABEL_TEXT)], [WORDS[label % 10]])
    _ints(context[key(contract.HEIGHT)], [recipe.height])
    _ints(context[key(contract.WIDTH)], [recipe.width])
    columns = list(zip(*texts, strict=True)) or [(), (), (), ()]
    names = (
        contract.CAPTION,
        contract.CAPTION_STYLE,
        contract.CAPTION_LANGUAGE,
        contract.CAPTION_RELATION,
    )
    for name, column in zip(names, columns, strict=True):
        _bytes(context[key(name)], column)
    _ints(context[key(contract.CAPTION_START)], [0] * len(texts))
    _ints(context[key(contract.CAPTION_END)], [duration_us] * len(texts))


def _add_object(context, lists, key, label: int, recipe: Recipe) -> None:
    word = WORDS[label % 10]
    for name in (contract.OBJECT_ID, contract.OBJECT_PHRASE_OBJECT):
        _ints(context[key(name)], [0])
    for name, text in {
        contract.OBJECT_LABEL_TEXT: word,
        contract.OBJECT_PHRASE: f"the {word}",
        contract.OBJECT_PHRASE_LANGUAGE: "en",
    }.items():
        _bytes(context[key(name)], [text])
    for _ in range(recipe.num_frames):
        boxes = lists[key(contract.OBJECT_BOXES)].feature.add()
        boxes.float_list.value[:] = [0.0, 0.0, 1.0, 0.5]


def _add_features(context, lists, key, values: np.ndarray, recipe: Recipe) -> None:
    _ints(context[key(contract.FEATURE_SHAPE)], recipe.features)
    context[key(contract.FEATURE_RATE)].float_list.value[:] = [1.0]
    _bytes(context[key(contract.FEATURE_ENCODER)], ["made_up@0"])
    for start in range(len(values)):
        _ints(lists[key(contract.FEATURE_TIMESTAMPS)].feature.add(), [start * 1_000_000])
    for step, places in zip(values, feature_positions(len(values), recipe), strict=True):
        lists[key(contract.CLIP_FEATURES)].feature.add().float_list.value[:] = step.ravel()
        lists[key(contract.FEATURE_POSITIONS)].feature.add().float_list.value[:] = places.ravel()


def _write_split(folder: str, split: str, recipe: Recipe) -> dict:
    total = recipe.splits[split]
    bounds = np.linspace(0, total, recipe.num_shards + 1).astype(int)
    shards = []
    for shard in range(recipe.num_shards):
        name = contract.shard_name(split, shard, recipe.num_shards)
        numbers = range(bounds[shard], bounds[shard + 1])
        contents = [serialize(number, split, recipe) for number in numbers]
        offsets = write_shard(f"{folder}/{name}", contents, recipe.with_info)
        with tf.io.gfile.GFile(f"{folder}/{name}", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        shards.append(
            {
                "file": name,
                "num_records": len(contents),
                "size_bytes": offsets[-1],
                "sha256": digest,
            }
        )
    return {"num_records": total, "shards": shards}


def _info(splits: dict, recipe: Recipe) -> dict:
    total = sum(recipe.splits.values())
    features = {
        key: {
            "where": feature.where,
            "dtype": feature.dtype,
            "axes": list(feature.axes),
            "unit": feature.unit,
        }
        for key, feature in contract.FEATURES.items()
    }
    return {
        "format_version": 1,
        "name": "synthetic",
        "splits": splits,
        "features": features,
        "labels": [WORDS[label % 10] for label in range(recipe.num_labels)],
        "media": {
            "frame_rate_hz": recipe.frame_rate_hz,
            "short_side": min(recipe.height, recipe.width),
            "sample_rate_hz": recipe.sample_rate_hz,
            "audio_encoding": recipe.audio_encoding,
        },
        "counts": {
            "items": total,
            "items_with_records": total,
            "records": total,
            "rejected_items": 0,
            "rejected_clips": 0,
        },
        "config": {},
        "manifest_sha256": hashlib.sha256(b"synthetic").hexdigest(),
    }


@functools.lru_cache(maxsize=4096)
def _jpeg(frame: int, label: int, height: int, width: int) -> bytes:
    return tf.io.encode_jpeg(frame_pixels(frame, label, height, width), quality=95).numpy()


def _key(recipe: Recipe, name: str) -> str:
    return recipe.key_names.get(name, name)


def _lacks(number: int, every: int) -> bool:
    return bool(every) and number % every == every - 1


def _bytes(feature: tf.train.Feature, values) -> None:
    feature.bytes_list.value[:] = [value.encode() for value in values]


def _ints(feature: tf.train.Feature, values) -> None:
    feature.int64_list.value[:] = values


def _write_text(path: str, text: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)
