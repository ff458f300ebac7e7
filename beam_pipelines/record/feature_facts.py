"""What features of a clip add to the statistics of its split."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from beam_pipelines.record import contract
from beam_pipelines.record.clip_features import ClipFeatures
from beam_pipelines.record.statistics import Facts
from beam_pipelines.text.word_splitting import normalised_words


def add_feature_facts(facts: Facts, context: Mapping[str, Any], features: ClipFeatures) -> None:
    """Adds what a stored clip contributes to the statistics.

    Args:
        facts: is added to.
        context: of its record.
        features: what the record holds of them.
    """
    captions = [text.decode() for text in context.get(contract.CAPTION, [])]
    words = [normalised_words(caption) for caption in captions]
    start_us, end_us = context[contract.CLIP_START][0], context[contract.CLIP_END][0]
    numbers = {
        "clip_seconds": [(end_us - start_us) / 1e6],
        "steps_per_clip": [len(features.values)],
        "feature_mean": [float(features.values.mean())],
        "feature_deviation": [float(np.std(features.values, dtype=np.float64))],
        "captions_per_clip": [len(captions)],
        "caption_words": [len(split) for split in words],
    }
    counted = {
        "caption_vocabulary": [word for split in words for word in split],
        "labels": [text.decode() for text in context.get(contract.LABEL_TEXT, [])],
        "encoders": [features.encoder],
    }
    for name, values in numbers.items():
        facts.numbers.setdefault(name, []).extend(values)
    for name, found in counted.items():
        facts.words.setdefault(name, []).extend(found)
