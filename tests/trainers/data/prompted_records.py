"""Records with captions in four languages, questions and boxes, and a vocabulary for them."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from tests.mm_models.text.pieces import write_model
from tests.trainers.record_factory import frame_pixels, write_shard
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig, PromptedTaskConfig
from trainers.data.parts.video.config import VideoInputConfig

LABELS = ("zero", "one", "two", "three", "four", "five")
COLORS = {
    "en": ("red", "green", "blue"),
    "de": ("rot", "grün", "blau"),
    "fr": ("rouge", "vert", "bleu"),
    "zh": ("红色的", "绿色的", "蓝色的"),
}
CAPTIONS = {
    "en": "the picture shows a {} {}",
    "de": "das Bild zeigt {} {}",
    "fr": "l'image montre {} {}",
    "zh": "图片显示{}{}",
}
TEMPLATES = str(pathlib.Path(__file__).parents[3] / "configs" / "pali" / "templates.yaml")
NUM_FRAMES = 5
WRONG = "nothing of the kind"


def caption(number: int, language: str) -> str:
    return CAPTIONS[language].format(COLORS[language][number % 3], LABELS[number % 6])


def box(number: int, frame: int, place: int) -> list[float]:
    """The object moves to the right by a tenth a frame; the second one is below it and further
    left."""
    left = 0.1 * frame + (0.3 if place == 0 else 0.0)
    return [0.5 * place, left, 0.5 * place + 0.25, left + 0.2]


def serialize(number: int, *, questions: bool = True) -> bytes:
    """A record. Every third one has no questions; object 1 is seen from frame 2 on."""
    example = tf.train.SequenceExample()
    context, lists = example.context.feature, example.feature_lists.feature_list

    def put(key: str, values: list[str]) -> None:
        context[key].bytes_list.value[:] = [value.encode() for value in values]

    put(contract.CLIP_KEY, [f"clip/{number:04d}#0"])
    put(contract.MEDIA_FILENAME, [f"media/{number}.mp4"])
    if number < 2:
        put(contract.CLIP_GROUP, ["film"])
        context[contract.CLIP_GROUP_INDEX].int64_list.value[:] = [7 - number]
        context[contract.CLIP_START].int64_list.value[:] = [1000 * number]
    languages = [*CAPTIONS, "en", "en", "en"]
    texts = [caption(number, language) for language in CAPTIONS]
    texts += [f"another {LABELS[number % 6]}", WRONG, str(number % 6)]
    put(contract.CAPTION, texts)
    put(contract.CAPTION_LANGUAGE, languages)
    put(contract.CAPTION_STYLE, ["canonical"] * 4 + ["full", "full", "ocr"])
    put(contract.CAPTION_RELATION, ["moment"] * 5 + ["wrong", "moment"])
    if questions and number % 3:
        put(contract.QUESTION, ["what colour?", "what colour?", "how many?", "welche Farbe?"])
        color = COLORS["en"][number % 3]
        put(contract.ANSWER, [color, f"dark {color}", "one", COLORS["de"][number % 3]])
        put(contract.QUESTION_KIND, ["colour", "colour", "count", "colour"])
        put(contract.QUESTION_LANGUAGE, ["en", "en", "en", "de"])
    put(contract.LABEL_TEXT, [LABELS[number % 6]])
    put(contract.OBJECT_LABEL_TEXT, [LABELS[number % 6], LABELS[(number + 1) % 6]])
    for frame in range(NUM_FRAMES):
        pixels = frame_pixels(frame, number, 16, 16)
        lists[contract.FRAMES].feature.add().bytes_list.value[:] = [
            tf.io.encode_jpeg(pixels, quality=95).numpy()
        ]
        boxes = box(number, frame, 0) + (box(number, frame, 1) if frame >= 2 else [0.0] * 4)
        lists[contract.OBJECT_BOXES].feature.add().float_list.value[:] = boxes
    return example.SerializeToString(deterministic=True)


def write_folder(folder, counts=None, **options) -> str:
    """Writes a record folder with `counts` records per split. Returns it."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, count in (counts or {"train": 30, "test": 7}).items():
        name = contract.shard_name(split, 0, 1)
        contents = [serialize(number, **options) for number in range(count)]
        write_shard(str(folder / name), contents)
        splits[split] = {"num_records": count, "shards": [{"file": name, "num_records": count}]}
    info = {"splits": splits, "labels": list(LABELS), "media": {"short_side": 16}}
    (folder / contract.DATASET_INFO).write_text(json.dumps(info))
    write_model(folder / "pieces.model", num_sentinels=20)
    return str(folder)


def video(**fields) -> VideoInputConfig:
    off = {"crop": "resize", "flip": False, "color_jitter_probability": 0.0, "num_frames": 1}
    return VideoInputConfig(**({"height": 16, "width": 16} | off | fields))


def prompted(folder, tasks, **fields) -> PromptedInputConfig:
    """`tasks` maps a name to a rate or to a dictionary of fields."""
    given = {
        name: PromptedTaskConfig(**(each if isinstance(each, dict) else {"rate": each}))
        for name, each in tasks.items()
    }
    plain = {
        "templates": TEMPLATES,
        "languages": ["en", "de", "fr", "zh"],
        "vocabulary": f"{folder}/pieces.model",
        "num_input_tokens": 96,
        "num_target_tokens": 64,
    }
    return PromptedInputConfig(tasks=given, **(plain | fields))


def input_config(folder, tasks, split="train", batch_size=8, datasets=None, **fields):
    parts = {name: fields.pop(name) for name in ("video", "audio", "labels") if name in fields}
    datasets = datasets or {"synthetic": DatasetConfig(path=folder, split=split)}
    return InputConfig(
        datasets=datasets,
        batch_size=batch_size,
        prompted=prompted(folder, tasks, **fields),
        **parts,
    )


def words(tokenizer, ids) -> list[str]:
    return [text.decode() for text in np.atleast_1d(tokenizer.detokenize(ids).numpy())]
