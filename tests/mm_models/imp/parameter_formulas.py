"""Weights of an IMP encoder by formula."""

from mm_models.imp.config import ImpConfig, resolve


def _layer_parameters(config: ImpConfig, num_experts: int) -> int:
    """Of one block with so many feed-forward halves (and the router where it has experts)."""
    norms = 2 * config.dim + (2 * config.head_dim if config.qk_norm else 0)
    return 4 * config.dim**2 + norms + num_experts * 2 * config.dim * config.mlp_dim


def _stack_parameters(config: ImpConfig, num_experts: int) -> int:
    num_expert_layers = len(config.expert_layers)
    dense = (config.num_layers - num_expert_layers) * _layer_parameters(config, 1)
    router = config.dim * config.num_experts
    experts = num_expert_layers * (_layer_parameters(config, num_experts) + router)
    return dense + experts + 2 * config.dim


def encoder_parameters(config: ImpConfig) -> int:
    """Weights of the blocks of one encoder and its final norm."""
    config = resolve(config)
    return _stack_parameters(config, config.num_experts)


def active_parameters(config: ImpConfig, experts_per_token: int = 1) -> int:
    """Weights of the encoder that one token meets when so many experts take it."""
    return _stack_parameters(resolve(config), experts_per_token)


def projection_parameters(config: ImpConfig) -> int:
    """Weights of the two maps around the encoder that each modality has."""
    dim = resolve(config).dim
    return 2 * (dim**2 + dim)
