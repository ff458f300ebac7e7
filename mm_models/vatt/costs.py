"""What a model costs, from its config alone: parameters, tokens, operations."""

import math

from mm_models.layers.tokens import drop_token
from mm_models.parameter_counts import ParameterCounts, count
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import VattConfig


def count_parameters(config: VattConfig) -> ParameterCounts:
    """The parameters of the `VattModel` of a config."""
    # Here, because the model's own module asks this one for its costs.
    from mm_models.vatt.model import VattModel

    return count(lambda: VattModel(config))


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


def _stack_flops(encoder, tokens: int) -> float:
    """Of a stack whose last block computes the aggregate row only."""
    inner = encoder.num_heads * encoder.head_dim

    def block(outputs):
        projections = 2 * encoder.dim * inner * (2 * outputs + 2 * tokens)
        scores = 4 * outputs * tokens * inner
        return projections + scores + 4 * outputs * encoder.dim * encoder.mlp_dim

    return float((encoder.num_layers - 1) * block(tokens) + block(1))


def _input_flops(config: VattConfig, modality: str, encoder, tokens: int) -> float:
    tower = getattr(config, modality)
    if modality == "text":
        # With absolute positions the aggregate token joins behind the map.
        mapped = tokens - 1 if config.variant == "agnostic" else tokens
        return 2.0 * mapped * tower.embedding_dim * encoder.dim
    channels = 3 if modality == "video" else 1
    flops = 2.0 * (tokens - 1) * math.prod(tower.patch_shape) * channels * encoder.dim
    if config.variant == "agnostic":
        flops += 2.0 * (tokens - 1) * encoder.dim**2
    return flops


def _head_flops(config: VattConfig, modality: str, width: int) -> float:
    head = config.head
    if head.kind == "mlp_joint":
        return 2.0 * width * head.joint_dim
    fine, coarse = head.video_audio_dim, head.video_text_dim
    if modality == "audio":
        return 2.0 * width * fine
    if modality == "text":
        return 2.0 * width * coarse
    return 2.0 * fine * (width + fine + (coarse if "text" in config.modalities else 0))


def flops_per_example(
    config: VattConfig, modalities, training: bool, num_candidates: int = 1
) -> float:
    """Forward matrix-product operations for one example, a multiply-add counted as two."""
    config = vatt_config.resolve(config)
    total = 0.0
    for modality in modalities:
        agnostic = config.variant == "agnostic"
        encoder = config.shared if agnostic else getattr(config, modality)
        tokens = num_tokens(config, modality, training)
        width = config.shared.post_dim if agnostic else encoder.dim
        flops = _input_flops(config, modality, encoder, tokens) + _stack_flops(encoder, tokens)
        flops += 2.0 * encoder.dim * width if agnostic else 0.0
        flops += _head_flops(config, modality, width)
        total += flops * (num_candidates if modality == "text" else 1)
    return total
