"""Records with phrases about objects, their boxes in each frame, and captions."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from tests.trainers.record_factory import frame_pixels, write_shard
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.phrases.config import PhrasesInputConfig
from trainers.data.parts.video.config import VideoInputConfig

ABSENT = (0.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass
class Phrase:
    text: str
    object_id: int
    sentence: str = ""
    first_word: int = -1
    language: str = "en"


@dataclasses.dataclass
class Scene:
    """A record.

    Attributes:
        boxes: of each object in each frame, by its id: [frames][4] y0, x0, y1, x1 as shares.
        labels: class of each object, by its id.
        phrases: one for each object of a phrase.
        captions: in English.
        size: height and width of the frames in pixels.
        pixels: uint8[frames, height, width, 3]; made up where empty.
    """

    boxes: dict[int, Sequence[Sequence[float]]]
    labels: dict[int, str]
    phrases: Sequence[Phrase]
    captions: Sequence[str] = ()
    size: tuple[int, int] = (16, 16)
    pixels: np.ndarray | None = None


def serialize(scene: Scene, key: str, *, with_sentences: bool = True) -> bytes:
    """A `tf.train.SequenceExample`; records of old have nothing of sentences."""
    example = tf.train.SequenceExample()
    context, lists = example.context.feature, example.feature_lists.feature_list

    def put(name: str, values: Sequence[str]) -> None:
        context[name].bytes_list.value[:] = [value.encode() for value in values]

    def put_numbers(name: str, values: Sequence[int]) -> None:
        context[name].int64_list.value[:] = values

    put(contract.CLIP_KEY, [key])
    put_numbers(contract.HEIGHT, scene.size[:1])
    put_numbers(contract.WIDTH, scene.size[1:])
    put(contract.CAPTION, scene.captions)
    put(contract.CAPTION_LANGUAGE, ["en"] * len(scene.captions))
    put_numbers(contract.OBJECT_ID, list(scene.boxes))
    put(contract.OBJECT_LABEL_TEXT, [scene.labels[number] for number in scene.boxes])
    put(contract.OBJECT_PHRASE, [phrase.text for phrase in scene.phrases])
    put(contract.OBJECT_PHRASE_LANGUAGE, [phrase.language for phrase in scene.phrases])
    put_numbers(contract.OBJECT_PHRASE_OBJECT, [phrase.object_id for phrase in scene.phrases])
    if with_sentences:
        put(contract.OBJECT_PHRASE_SENTENCE, [phrase.sentence for phrase in scene.phrases])
        places = [phrase.first_word for phrase in scene.phrases]
        put_numbers(contract.OBJECT_PHRASE_FIRST_WORD, places)
    for frame in range(max(map(len, scene.boxes.values()), default=1)):
        pixels = frame_pixels(frame, len(key), *scene.size)
        if scene.pixels is not None:
            pixels = scene.pixels[frame]
        encoded = tf.io.encode_png(pixels).numpy()
        lists[contract.FRAMES].feature.add().bytes_list.value[:] = [encoded]
        boxes = [x for track in scene.boxes.values() for x in track[frame]]
        lists[contract.OBJECT_BOXES].feature.add().float_list.value[:] = boxes
    return example.SerializeToString(deterministic=True)


def write_scenes(folder, scenes: Sequence[Scene], split: str = "test", **options) -> str:
    """Writes a record folder of one split. Returns it."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = contract.shard_name(split, 0, 1)
    contents = [
        serialize(scene, f"clip/{number:04d}#0", **options) for number, scene in enumerate(scenes)
    ]
    write_shard(str(folder / name), contents)
    entry = {"num_records": len(scenes), "shards": [{"file": name, "num_records": len(scenes)}]}
    info = {"splits": {split: entry}, "media": {"short_side": min(scenes[0].size)}}
    (folder / contract.DATASET_INFO).write_text(json.dumps(info))
    return str(folder)


def phrase_input(folder: str, encoder: str, *, width: int = 4, **fields) -> InputConfig:
    """An input of a folder of scenes: still pictures and phrases, by fields of both and of it."""
    video = {"num_frames": 1, "height": 16, "width": 16, "crop": "resize", "flip": False}
    video |= {"color_jitter_probability": 0.0} | fields.pop("video", {})
    phrases = {"encoder": encoder, "width": width, "num_words": 4} | fields.pop("phrases", {})
    datasets = fields.pop("datasets", None) or {"scenes": DatasetConfig(path=folder, split="test")}
    return InputConfig(
        datasets=datasets,
        video=VideoInputConfig(**video),
        phrases=PhrasesInputConfig(**phrases),
        **({"batch_size": 4} | fields),
    )
