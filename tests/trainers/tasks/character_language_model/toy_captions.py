"""Records and batches of toy sentences, and tasks that read them."""

import pathlib

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.character_language_model.config import CharacterLanguageModelConfig
from mm_models.text.word_characters import sentence_characters
from tests.trainers.record_factory import write_shard
from trainers.config.schema import StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.tasks.character_language_model.characters_config import CharactersInputConfig
from trainers.tasks.character_language_model.task import (
    CharacterLanguageModelTask,
    CharacterLanguageModelTaskConfig,
)

NUM_CHARACTERS, NUM_WORDS, WORDS = 12, 6, 64


def write_records(path: pathlib.Path, captions: list[list[tuple[str, str, str]]]) -> str:
    """Writes a shard of records with (text, language, style) of each caption. Returns its path."""
    contents = []
    for texts in captions:
        example = tf.train.SequenceExample()
        keys = (contract.CAPTION, contract.CAPTION_LANGUAGE, contract.CAPTION_STYLE)
        for place, key in enumerate(keys):
            values = [one[place].encode() for one in texts]
            example.context.feature[key].bytes_list.value[:] = values
        contents.append(example.SerializeToString())
    write_shard(str(path), contents)
    return str(path)


def write_vocabulary(path: pathlib.Path, words: list[str]) -> str:
    """Writes a word table. Returns its path."""
    path.write_text("\n".join(["<pad>", "<bos>", "<eos>", "<unk>", *words]) + "\n")
    return str(path)


def make_input(path="", vocabulary="", batch_size=4, dataset=None, **fields):
    sizes = {"num_words": NUM_WORDS, "num_characters": NUM_CHARACTERS}
    return InputConfig(
        batch_size=batch_size,
        datasets={"toy": DatasetConfig(path=path, **(dataset or {}))} if path else {},
        characters=CharactersInputConfig(**sizes | {"vocabulary": vocabulary} | fields),
    )


def make_task(inputs=None, model=None, **fields) -> CharacterLanguageModelTask:
    sizes = {"size": "debug", "dropout_rate": 0.0} | (model or {})
    config = CharacterLanguageModelTaskConfig(model=CharacterLanguageModelConfig(**sizes), **fields)
    return CharacterLanguageModelTask(
        config, {"captions": StreamConfig(input=inputs or make_input())}
    )


def make_batch():
    """Four sentences, one of them cut and one of no words."""
    sentences = tf.constant(["a big dog", "cats run off so fast now yes", "", "Dogs, two!"])
    characters, counts = sentence_characters(sentences, NUM_CHARACTERS, NUM_WORDS)
    present = np.asarray(tf.reduce_any(characters != 0, axis=-1))
    draw = np.random.default_rng(0)
    words = np.where(present, draw.integers(4, WORDS, present.shape), 0).astype(np.int32)
    words[:, 0] = 1
    for row, count in enumerate(counts.numpy()):
        if present[row, count + 1]:
            words[row, count + 1] = 2
    return {
        "example_id": np.arange(4),
        "example_mask": np.ones(4, np.float32),
        "characters": characters.numpy(),
        "characters_mask": np.ones(4, np.float32),
        "words": words,
    }
