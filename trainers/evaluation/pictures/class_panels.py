"""Clips and sounds with the classes a model gives them, beside those they have."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_models.metrics import classification
from trainers.data.config import InputConfig
from trainers.evaluation.classes import labels
from trainers.evaluation.model_inputs import model_inputs
from trainers.evaluation.pictures import drawing, matrices, panels
from trainers.evaluation.pictures.batch_panels import NUM_CLIPS, media_panels
from trainers.tasks.classifier import Classifier


def batch_panels(
    model: keras.Model,
    batch: Mapping[str, tf.Tensor],
    input_config: InputConfig,
    classifier: Classifier,
) -> list[panels.Panel]:
    """Clip strips, spectrograms and sounds with true and predicted class, of the first examples of
    one replica's batch, which was read with `input_config`."""
    kept = {name: tensor[:NUM_CLIPS] for name, tensor in batch.items()}
    inputs = model_inputs([classifier.modality], kept)
    words = described(classifier.logits(model, inputs).numpy(), kept["label"].numpy(), classifier)
    return media_panels(kept, words, input_config, titled_clips=True)


def described(
    logits: np.ndarray, label_table: np.ndarray, classifier: Classifier
) -> list[tuple[str, list[str]]]:
    """What is true and what the model says of each row, as a title and further lines.

    Args:
        logits: float[rows, classes].
        label_table: int[rows, labels] padded with -1.
        classifier: what gave the logits.
    """
    shares, names = probabilities(logits, classifier.is_multi_label), classifier.class_names
    return [
        (f"true {true_names(row, names)}", [f"predicted {_best(share, names)}"])
        for row, share in zip(label_table, shares, strict=True)
    ]


def probabilities(logits: np.ndarray, is_multi_label: bool) -> np.ndarray:
    """float64[rows, classes]: of each class by itself, or of one class among all."""
    logits = np.asarray(logits, np.float64)
    if is_multi_label:
        return 0.5 * (1.0 + np.tanh(0.5 * logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def true_names(row: np.ndarray, names: Sequence[str]) -> str:
    """The classes of one padded row of labels, in words."""
    return ", ".join(names[label] for label in row if 0 <= label < len(names)) or "unknown"


def _best(share: np.ndarray, names: Sequence[str], count: int = 2) -> str:
    best = np.argsort(-share, kind="stable")[:count]
    return ", ".join(f"{names[number]} {share[number]:.2f}" for number in best)


def evaluation_panels(
    scores: np.ndarray,
    label_table: np.ndarray,
    thumbnails: np.ndarray | None,
    names: Sequence[str],
    num_pictures: int,
    verb: str,
) -> list[panels.Panel]:
    """The confusion of clips with one label, and strips of the first of them.

    Args:
        scores: float[examples, classes].
        label_table: int32[examples, labels] padded with -1.
        thumbnails: uint8[examples, frames, height, width, 3], or None where there is no video.
        names: of the classes.
        num_pictures: clips shown.
        verb: what stands in front of the class with the highest score.
    """
    rows, truth = labels.single_labels(label_table)
    guesses = scores[rows].argmax(axis=1)
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (truth, guesses), 1)
    shown: list[panels.Panel] = [panels.ImagePanel("confusion", _confusion(counts, names, verb))]
    if thumbnails is None:
        return shown
    strips = [drawing.judgement_legend(f"{verb} the true class", f"{verb} another class")]
    for row, true, guess in list(zip(rows, truth, guesses, strict=True))[:num_pictures]:
        line = f"true {names[true]}, {verb} {names[guess]}"
        strip = drawing.clip_strip(thumbnails[row])
        strips.append(drawing.judged(strip, [line], is_right=true == guess))
    return [*shown, panels.ImagePanel("clips", drawing.stack(strips))] if strips[1:] else shown


def _confusion(counts: np.ndarray, names: Sequence[str], verb: str) -> np.ndarray:
    """Share of each true class (row) that was given each class (column)."""
    return matrices.matrix_image(
        counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
        matrices.Axis("true class", names),
        matrices.Axis(f"{verb} class", names),
        meaning="share of the clips of a true class",
        low=0.0,
        high=1.0,
    )


def class_table(
    scores: np.ndarray, label_table: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per class: how many clips it has and how well they are told from the others.

    `recall` and `precision` are those of the class with the highest score, among the clips with one
    label. Numbers that do not exist, such as the area under ROC without positives, are None.

    Args:
        scores: float[examples, classes].
        label_table: int[examples, labels] padded with -1.
        names: of the classes.
    """
    rows, truth = labels.single_labels(label_table)
    guesses = scores[rows].argmax(axis=1)
    positives = labels.positives(label_table, len(names))
    return [
        {
            "class": name,
            "examples": int(positives[:, number].sum()),
            "recall": _share(guesses[truth == number] == number),
            "precision": _share(truth[guesses == number] == number),
            **{
                key: value if np.isfinite(value) else None
                for key, value in classification.class_scores(
                    scores[:, number], positives[:, number]
                ).items()
            },
        }
        for number, name in enumerate(names)
    ]


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if len(hits) else None


def class_table_panel(table: Sequence[Mapping[str, Any]]) -> panels.TextPanel:
    """The table of `class_table` for TensorBoard."""
    keys = list(table[0])
    lines = [f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
    lines += [f"| {' | '.join(_cell(row[key]) for key in keys)} |" for row in table]
    return panels.TextPanel("classes", "\n".join(lines))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
