"""Who takes whom: experts choose tokens, or tokens choose experts."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers.mixture_of_experts.options import ExpertOptions


class Assignment(NamedTuple):
    """The slots of every expert, group by group.

    Attributes:
        tokens: int32[groups, experts, capacity] index of the token within its group.
        filled: float32[groups, experts, capacity] 1 where there is a token, 0 where a slot is left
            empty; the index there means nothing.
        gates: float32[groups, experts, capacity] weight of the expert's output for that token, its
            probability as it is; 0 in empty slots.
    """

    tokens: tf.Tensor
    filled: tf.Tensor
    gates: tf.Tensor


def assign(
    probabilities: tf.Tensor, real: tf.Tensor | None, capacity: int, options: ExpertOptions
) -> Assignment:
    """The assignment by the router that the options name.

    Args:
        probabilities: float32[groups, tokens, experts], summing to 1 over the experts.
        real: bool[groups, tokens], false for padding, which no expert takes; None: all real.
        capacity: slots of an expert in a group, at most the group's tokens.
        options: whose `router` and `top_k` matter here.
    """
    if options.router == "experts_choose":
        return experts_choose(probabilities, real, capacity)
    return tokens_choose(probabilities, real, capacity, options.top_k)


def experts_choose(probabilities: tf.Tensor, real: tf.Tensor | None, capacity: int) -> Assignment:
    """Every expert takes the tokens that are most probable for it, ties to the lower index.

    Args and returns: see `assign`.

    Source: IMP and its released code; Expert Choice Routing, section 3.2.
    """
    scores = probabilities
    if real is not None:
        scores = tf.where(real[:, :, tf.newaxis], scores, -1.0)
    return _take(probabilities, tf.transpose(scores, [0, 2, 1]), capacity, lowest=0.0)


def tokens_choose(
    probabilities: tf.Tensor, real: tf.Tensor | None, capacity: int, top_k: int
) -> Assignment:
    """Every token asks for its `top_k` most probable experts, which take those that come first.

    First come all first choices, then all second ones; among equal choices, the tokens whose
    largest probability is higher (batch priority); then the lower index.

    Args and returns: see `assign`.

    Source: V-MoE, section 2.2 and section 4.
    """
    num_tokens, num_experts = probabilities.shape[1:]
    # [groups, tokens, top_k, experts]
    asked = tf.one_hot(choices(probabilities, top_k), num_experts)
    largest = tf.reduce_max(probabilities, axis=-1)
    if real is not None:
        largest = tf.where(real, largest, -1.0)
        asked *= tf.cast(real, tf.float32)[:, :, tf.newaxis, tf.newaxis]
    # Whole numbers, which float32 holds exactly: no two requests at one expert are alike.
    turn = tf.cast(_places(largest), tf.float32)[:, :, tf.newaxis]
    turn += tf.range(top_k, dtype=tf.float32) * num_tokens
    scores = tf.einsum("gtke,gtk->get", asked, top_k * num_tokens - turn)
    return _take(probabilities, scores, capacity, lowest=1.0)


def choices(probabilities: tf.Tensor, top_k: int) -> tf.Tensor:
    """int32[groups, tokens, top_k] experts that the tokens ask for, ties to the lower index."""
    return tf.math.top_k(tf.stop_gradient(probabilities), top_k).indices


def _places(values: tf.Tensor) -> tf.Tensor:
    """int32[groups, tokens] place of each value in descending order, ties to the lower index."""
    order = tf.math.top_k(tf.stop_gradient(values), values.shape[1]).indices
    return tf.argsort(order, axis=-1)


def _take(probabilities, scores, capacity, *, lowest) -> Assignment:
    """The tokens of highest `scores: [groups, experts, tokens]`, where at least `lowest`."""
    best, tokens = tf.math.top_k(tf.stop_gradient(scores), capacity)
    filled = tf.cast(best >= lowest, tf.float32)
    by_expert = tf.transpose(probabilities, [0, 2, 1])
    return Assignment(tokens, filled, tf.gather(by_expert, tokens, batch_dims=2) * filled)
