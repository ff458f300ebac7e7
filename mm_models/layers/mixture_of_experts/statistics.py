"""What a router did, as sums over tokens, so that they add over calls and replicas."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers.mixture_of_experts import routing
from mm_models.layers.mixture_of_experts.options import ExpertOptions
from mm_models.layers.mixture_of_experts.routing import Assignment


class Routing(NamedTuple):
    """Sums over the tokens of one call, float32; without padding where that is ignored.

    Attributes:
        z_loss: [] sum over tokens of the squared logsumexp of the router's logits.
        balance_loss: [] load-balancing loss of each group times its tokens (`balance_losses`); 0
            where experts choose, since their loads are equal by construction.
        num_tokens: [].
        gate_sum: [] sum of the gates of all pairs of token and expert that met; divided by
            `num_dispatched`, the router's confidence.
        num_dispatched: [] number of such pairs.
        left_behind: [] tokens that no expert took.
        probability: [experts] sum over tokens of the router's probabilities.
        load: [experts] tokens taken.

    Source: IMP, the released code; ST-MoE, section 3 (z-loss).
    """

    z_loss: tf.Tensor
    balance_loss: tf.Tensor
    num_tokens: tf.Tensor
    gate_sum: tf.Tensor
    num_dispatched: tf.Tensor
    left_behind: tf.Tensor
    probability: tf.Tensor
    load: tf.Tensor


def summarise(
    logits: tf.Tensor,
    probabilities: tf.Tensor,
    assignment: Assignment,
    real: tf.Tensor | None,
    options: ExpertOptions,
) -> Routing:
    """Adds up what happened.

    Args:
        logits, probabilities: float32[groups, tokens, experts].
        assignment: who took whom.
        real: bool[groups, tokens], false for tokens that do not count; None: all count.
        options: of the router.
    """
    weights = tf.ones_like(logits[:, :, 0]) if real is None else tf.cast(real, tf.float32)
    num_dispatched = tf.reduce_sum(assignment.filled)
    balance = tf.zeros([])
    if options.router == "tokens_choose":
        losses = balance_losses(probabilities, weights, options.top_k)
        balance = tf.reduce_sum(losses * tf.reduce_sum(weights, axis=1))
    num_tokens = tf.reduce_sum(weights)
    return Routing(
        z_loss=tf.reduce_sum(weights * tf.square(tf.reduce_logsumexp(logits, axis=-1))),
        balance_loss=balance,
        num_tokens=num_tokens,
        gate_sum=tf.reduce_sum(assignment.gates),
        num_dispatched=num_dispatched,
        left_behind=num_tokens - _count_taken(assignment, logits.shape[1]),
        probability=tf.einsum("gte,gt->e", probabilities, weights),
        load=tf.reduce_sum(assignment.filled, axis=[0, 2]),
    )


def balance_losses(probabilities: tf.Tensor, weights: tf.Tensor, top_k: int) -> tf.Tensor:
    """How unevenly tokens ask for experts, per group.

    experts * sum over experts of (share of the requests that go to it) * (mean probability of it),
    before any capacity: 1 where both are uniform, at most the number of experts.

    Args:
        probabilities: float32[groups, tokens, experts].
        weights: float32[groups, tokens], 0 for tokens that do not count.
        top_k: requests of a token.

    Returns:
        float32[groups]; 0 for a group without tokens.

    Source: Switch Transformers, equations 4 to 6; for several requests, GShard, section 2.2.
    """
    num_experts = probabilities.shape[2]
    asked = tf.one_hot(routing.choices(probabilities, top_k), num_experts)
    num_tokens = tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1.0)
    share = tf.einsum("gtke,gt->ge", asked, weights) / (top_k * num_tokens)
    mean = tf.einsum("gte,gt->ge", probabilities, weights) / num_tokens
    return num_experts * tf.reduce_sum(share * mean, axis=-1)


def _count_taken(assignment: Assignment, num_tokens: int) -> tf.Tensor:
    """float32[] tokens with at least one expert."""
    num_groups = tf.shape(assignment.tokens)[0]
    starts = tf.range(num_groups) * num_tokens
    rows = assignment.tokens + starts[:, tf.newaxis, tf.newaxis]
    uses = tf.math.unsorted_segment_sum(
        tf.reshape(assignment.filled, [-1]), tf.reshape(rows, [-1]), num_groups * num_tokens
    )
    return tf.reduce_sum(tf.cast(uses > 0.0, tf.float32))
