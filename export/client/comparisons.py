"""What embeddings of one file and of sentences are near to: classes by prompts, and records."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from export.client.answer_tables import aligned_table


@dataclasses.dataclass(frozen=True)
class Label:
    """A class and how near it is: `similarity` is a cosine, `probability` one among the classes."""

    label: str
    similarity: float
    probability: float


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A record and how near it is.

    Attributes:
        key: of the record.
        cosine: with the query.
        captions, labels: what the record says of itself.
    """

    key: str
    cosine: float
    captions: list[str]
    labels: list[str]


def class_embeddings(
    labels: Sequence[str], prompts: Sequence[str], embed_text: Callable[[list[str]], np.ndarray]
) -> np.ndarray:
    """Each class's place, float32[classes, dim]: its prompts' mean embedding, of length 1.

    Args:
        labels: class names.
        prompts: templates in which `{}` stands for the name.
        embed_text: sentences to float32[sentences, dim] of length 1.
    """
    sentences = [prompt.replace("{}", label) for label in labels for prompt in prompts]
    embedded = embed_text(sentences).reshape(len(labels), len(prompts), -1)
    means = embedded.mean(axis=1)
    return means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-12)


def rank_labels(
    labels: Sequence[str], embeddings: np.ndarray, query: np.ndarray, temperature: float
) -> list[Label]:
    """The classes, nearest first.

    Args:
        labels: class names.
        embeddings: float32[classes, dim] of length 1.
        query: float32[dim] of length 1.
        temperature: similarities are divided by it before the softmax.
    """
    similarities = embeddings @ query
    scores = np.exp((similarities - similarities.max()) / temperature)
    probabilities = scores / scores.sum()
    order = np.argsort(-similarities, kind="stable")
    return [Label(labels[i], float(similarities[i]), float(probabilities[i])) for i in order]


def nearest(
    records: Any, modality: str, queries: Mapping[str, tuple[str, np.ndarray]], count: int
) -> dict[str, list[Neighbour]]:
    """The records nearest to each query, by the modality that the records were embedded by.

    Args:
        records: trainers.evaluation.places.record_set.RecordSet.
        modality: what the records were embedded by is read from this part of theirs, `video` or
            `audio`.
        queries: name to the output of the records that a query is compared with, such as
            `video_vt`, and the query's own place there, float32[dim] of length 1.
        count: how many of each.
    """
    rows = np.flatnonzero(records.masks[modality])
    found = {}
    for name, (output, query) in queries.items():
        cosines = records.embeddings[output][rows] @ query
        best = np.argsort(-cosines, kind="stable")[:count]
        found[name] = [_neighbour(records.clips[rows[i]], float(cosines[i])) for i in best]
    return found


def _neighbour(clip: Any, cosine: float) -> Neighbour:
    return Neighbour(clip.key, cosine, list(clip.captions), list(clip.label_texts))


def label_table(title: str, ranked: Sequence[Label]) -> str:
    """Lines of label, similarity and probability under `title`."""
    columns = {
        "similarity": [f"{entry.similarity:.4f}" for entry in ranked],
        "probability": [f"{entry.probability:.4f}" for entry in ranked],
    }
    return aligned_table(title, [entry.label for entry in ranked], columns)


def neighbour_table(title: str, found: Sequence[Neighbour]) -> str:
    """Lines of cosine, key and first captions under `title`."""
    width = max((len(entry.key) for entry in found), default=0)
    lines = [f"nearest to {title}"]
    for entry in found:
        words = " | ".join(entry.captions[:2] or entry.labels)
        lines.append(f"{entry.cosine:>8.4f}  {entry.key:<{width}}  {words}".rstrip())
    return "\n".join(lines)
