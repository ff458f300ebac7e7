"""Tokens of an example, from the config of a model alone."""

import math

from mm_models.layers.tokens import drop_token
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import VattConfig


def num_tokens(config: VattConfig, modality: str, training: bool) -> int:
    """Tokens of one input of a modality inside the encoder, the aggregate one included."""
    config = vatt_config.resolve(config)
    tower = getattr(config, modality)
    if modality == "text":
        return 1 + tower.num_tokens
    count = math.prod(tower.grid.values())
    if training:
        count = drop_token.num_kept(count, tower.drop_token_rate)
    return 1 + count


def tokens_per_example(
    config: VattConfig, modalities, training: bool, num_candidates: int = 1
) -> int:
    """Tokens that the encoders process for one example with `num_candidates` captions."""
    return sum(
        num_tokens(config, modality, training) * (num_candidates if modality == "text" else 1)
        for modality in modalities
    )
