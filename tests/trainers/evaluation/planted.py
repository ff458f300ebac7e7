"""A model whose embeddings are its inputs, and data sets that hold the embeddings a test wants."""

import types

import numpy as np
import tensorflow as tf

from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig

DIM = 24  # 1 frame x 2 x 4 pixels x 3 channels
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", "the", "digit", *NAMES]


def write_vocabulary(folder):
    path = folder / "vocabulary.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return str(path)


def word_ids(labels):
    return np.array([VOCABULARY.index(NAMES[label]) for label in labels], np.int32)


class InputsAreEmbeddings:
    """Video and audio are returned flattened; a caption is the sum of its words' vectors."""

    def __init__(self, word_vectors=None):
        table = np.zeros((len(VOCABULARY), DIM), np.float32)
        if word_vectors is not None:
            table[VOCABULARY.index(NAMES[0]) :] = word_vectors
        self.table = tf.constant(table)
        self.modalities = ["video", "audio", "text"]
        self.config = types.SimpleNamespace(head=types.SimpleNamespace(kind="mlp_joint"))

    def spaces(self, first, second):
        space = "vt" if "text" in (first, second) else "va"
        return f"{first}_{space}", f"{second}_{space}"

    def embed(self, inputs):
        outputs = {}
        if "video" in inputs:
            flat = tf.reshape(inputs["video"], [-1, DIM])
            outputs |= {"video": flat, "video_vt": flat, "video_va": flat}
        if "audio" in inputs:
            outputs |= dict.fromkeys(("audio", "audio_va", "audio_vt"), inputs["audio"])
        if "text" in inputs:
            outputs["text_vt"] = tf.reduce_sum(tf.gather(self.table, inputs["text"]), axis=-2)
        return outputs


def inputs(vocabulary="", **modalities):
    everything = {
        "video": VideoInputConfig(num_frames=1, height=2, width=4),
        "audio": AudioInputConfig(num_samples=DIM, sample_rate_hz=DIM),
        "text": TextInputConfig(num_candidates=2, num_tokens=4, vocabulary=vocabulary),
    }
    return InputConfig(
        datasets={"planted": DatasetConfig(path="nowhere", split="test")},
        batch_size=4,
        labels=LabelsInputConfig(),
        **(everything | modalities),
    )


class PlantedData:
    """Replaces the input pipeline: `build_eval_dataset(config)` yields these rows, padded."""

    def __init__(self, **columns):
        self.columns = columns

    def build_eval_dataset(self, input_config, *, input_context=None):
        count, size = len(next(iter(self.columns.values()))), input_config.batch_size
        for start in range(0, count, size):
            yield self._batch(start, size, count, input_config)

    def _batch(self, start, size, count, input_config):
        rows = np.arange(start, start + size)
        real = (rows < count).astype(np.float32)
        rows = np.minimum(rows, count - 1)  # padding repeats the last row
        batch = {
            "example_id": np.where(real > 0, rows, -1),
            "example_mask": real,
            "label": self._labels(rows),
        }
        for name in ("video", "audio", "text"):
            if getattr(input_config, name) is not None and name in self.columns:
                batch[name] = self.columns[name][rows]
                batch[f"{name}_mask"] = self._mask(name, rows) * real
        if "text" in batch:
            batch["text_candidate_mask"] = (batch["text"].sum(axis=-1) > 0).astype(np.float32)
        return {name: tf.constant(value) for name, value in batch.items()}

    def _labels(self, rows):
        if "label" not in self.columns:
            return np.full((len(rows), 1), -1, np.int32)
        return self.columns["label"][rows]

    def _mask(self, name, rows):
        ones = np.ones(len(rows), np.float32)
        return self.columns.get(f"{name}_mask", np.ones(2**12, np.float32))[rows] * ones


def as_video(vectors):
    """float[..., DIM] to float32[..., 1, 2, 4, 3]."""
    vectors = np.asarray(vectors, np.float32)
    return vectors.reshape(*vectors.shape[:-1], 1, 2, 4, 3)


def unit_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def captions_of(labels, num_tokens=4, candidates=2):
    """One caption a clip, "the digit <name>", and an empty second candidate."""
    text = np.zeros((len(labels), candidates, num_tokens), np.int32)
    text[:, 0, 0] = VOCABULARY.index("the")
    text[:, 0, 1] = VOCABULARY.index("digit")
    text[:, 0, 2] = word_ids(labels)
    return text
