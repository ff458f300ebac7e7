"""What a character language model is made of. Fields left null take what the size says."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.text.word_characters import LEAST_WORD_CHARACTERS

SIZES: dict[str, dict[str, Any]] = {
    "elmo": {
        "num_characters": 50,
        "character_dim": 16,
        "filters": [32, 32, 64, 128, 256, 512, 1024],
        "width": 512,
        "cells": 4096,
        "vocabulary_size": 793_471,
    },
    "small": {
        "num_characters": 24,
        "character_dim": 16,
        "filters": [16, 32, 64, 128],
        "width": 128,
        "cells": 256,
        "vocabulary_size": 16_384,
    },
    "debug": {
        "num_characters": 12,
        "character_dim": 6,
        "filters": [8, 8, 16],
        "width": 12,
        "cells": 16,
        "vocabulary_size": 64,
    },
}
ACTIVATIONS = ("relu", "tanh")


@dataclasses.dataclass
class CharacterLanguageModelConfig:
    """A model of the next and the previous word, which reads words by their characters.

    Attributes:
        size: `elmo` (the published sizes), `small` or `debug`.
        num_characters: length of a word's row of bytes, with the two marks around it; null, here
            and below, takes the size's value.
        character_dim: width of a character's vector.
        filters: convolutions over 1, 2, 3, ... characters, the number of filters of each.
        activation: of the convolutions, behind the maximum over the places: `relu` or `tanh`.
        num_highway_layers: between convolutions and projection.
        width: of a word's vector, and of what an LSTM layer gives in one direction.
        cells: of an LSTM layer in one direction; where they are not `width`, they are projected.
        vocabulary_size: words that may come next.
        dropout_rate: of what LSTM layers and softmax read, in training.

    Source: Peters and others, Deep contextualized word representations (ELMo), 2018, section 3.4;
    its released code for the number of filters and the vocabulary.
    """

    size: str = "elmo"
    num_characters: int | None = None
    character_dim: int | None = None
    filters: list[int] | None = None
    activation: str = "relu"
    num_highway_layers: int = 2
    width: int | None = None
    cells: int | None = None
    vocabulary_size: int | None = None
    dropout_rate: float = 0.1


def resolve(config: CharacterLanguageModelConfig) -> CharacterLanguageModelConfig:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or a number that cannot work.
    """
    config = config_tools.fill(config, checks.choose(SIZES, config.size, "size"))
    for name in ("character_dim", "width", "cells", "vocabulary_size"):
        checks.check_at_least(getattr(config, name), 1, name)
    checks.check_at_least(config.num_highway_layers, 0, "num_highway_layers")
    checks.check_lengths(config.filters, max(len(config.filters), 1), "filters")
    least = max(LEAST_WORD_CHARACTERS, len(config.filters))
    checks.check_at_least(config.num_characters, least, "num_characters")
    checks.check_choice(config.activation, ACTIVATIONS, "activation")
    checks.check_rate(config.dropout_rate, "dropout_rate")
    return config


def as_resolved(
    config: CharacterLanguageModelConfig | dict[str, Any],
) -> CharacterLanguageModelConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, CharacterLanguageModelConfig))
