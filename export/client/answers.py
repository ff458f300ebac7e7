"""Answers of a model about one file, as people or programs read them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from export.client.questions import Words

KINDS = {"image": "picture", "video": "video", "audio": "sound"}
# What the table of a signature's similarities is called.
TITLES = {"similarity": "video"} | {f"similarity_{kind}": name for kind, name in KINDS.items()}


def print_answers(
    outputs: dict[str, Any], words: Words, warnings: Sequence[str], *, as_json: bool
) -> None:
    """Prints embeddings as a summary, similarities, best classes and written texts as tables, or
    all as JSON.

    Args:
        outputs: arrays of one row by `<signature>.<output>`.
        words: what was asked; its sentences and labels are in the order of their scores.
        warnings: of the decoder.
        as_json: print JSON.
    """
    if as_json:
        print(json.dumps(json_answers(outputs, words, warnings)))
        return
    for warning in [*warnings, *_cuts(outputs, words)]:
        print(f"note: {warning}")
    for key, value in outputs.items():
        value = np.asarray(value)
        if key.startswith(("embed_", "encode_")):
            start = ", ".join(f"{entry:.3f}" for entry in value[:4])
            print(f"{key:<28} {len(value)} numbers: {start}, ...")
    for signature, title in TITLES.items():
        if f"{signature}.similarity" in outputs:
            _print_table(
                title,
                list(words.texts),
                np.asarray(outputs[f"{signature}.similarity"]),
                np.asarray(outputs[f"{signature}.probability"]),
            )
    for key in [key for key in outputs if key.endswith(".top_class")]:
        signature = key.removesuffix(".top_class")
        _print_classes(
            next(title for kind, title in KINDS.items() if f"_{kind}" in signature),
            _plain(np.asarray(outputs[key]).tolist()),
            np.asarray(outputs[f"{signature}.top_probability"]),
        )
    _print_written(outputs, words)


def json_answers(outputs: dict[str, Any], words: Words, warnings: Sequence[str]) -> dict[str, Any]:
    """The arguments of `print_answers` as what JSON can hold."""
    values = {key: _plain(np.asarray(value).tolist()) for key, value in outputs.items()}
    asked = {"texts": list(words.texts), "labels": list(words.labels)}
    if words.prompt:
        asked["prompt"] = words.prompt
    return {**asked, "outputs": values, "warnings": [*warnings, *_cuts(outputs, words)]}


def _plain(value: Any) -> Any:
    """The same with text in place of bytes."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _cuts(outputs: dict[str, Any], words: Words) -> list[str]:
    """A sentence for each string that the model read a part of."""
    cut = []
    if any(key.endswith(".prompt_is_cut") and value for key, value in outputs.items()):
        cut.append("the prompt is longer than what the model reads; its end was cut off")
    for key in (key for key in outputs if key.endswith(".label_is_cut")):
        for label, is_cut in zip(words.labels, np.asarray(outputs[key]), strict=True):
            if is_cut:
                cut.append(f"{label!r} is longer than what the model scores; its end was cut off")
    return cut


def _print_written(outputs: dict[str, Any], words: Words) -> None:
    """Texts with their scores, and given texts with theirs, best first."""
    for key in outputs:
        signature, _, output = key.rpartition(".")
        if output == "text":
            texts = np.atleast_1d(np.asarray(outputs[key], object)).tolist()
            _print_scored(signature, _plain(texts), outputs[f"{signature}.score"])
        elif output == "log_likelihood":
            _print_scored(signature, list(words.labels), outputs[key])


def _print_scored(title: str, texts: list[str], scores: Any) -> None:
    scores = np.atleast_1d(np.asarray(scores, np.float64))
    width = max(len(title), *(len(text) for text in texts))
    print(f"\n{title:<{width}}  {'score':>9}")
    for index in np.argsort(-scores, kind="stable"):
        print(f"{texts[index]:<{width}}  {scores[index]:>9.4f}")


def _print_classes(title: str, names: list[str], probabilities: np.ndarray) -> None:
    width = max(len(title), *(len(name) for name in names))
    print(f"\n{title:<{width}}  probability")
    for name, probability in zip(names, probabilities, strict=True):
        print(f"{name:<{width}}  {probability:>11.4f}")


def _print_table(
    title: str, texts: list[str], similarity: np.ndarray, probability: np.ndarray
) -> None:
    width = max(len(title), *(len(text) for text in texts))
    print(f"\n{title:<{width}}  similarity  probability")
    for index in np.argsort(-similarity, kind="stable"):
        print(f"{texts[index]:<{width}}  {similarity[index]:>10.4f}  {probability[index]:>11.4f}")
