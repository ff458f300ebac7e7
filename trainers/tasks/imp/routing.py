"""Losses and metrics of the layers with experts."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from mm_models.losses.term import Term


def _layers(routings: Mapping[str, Sequence]) -> list[list]:
    """The routings of every layer, over the modalities."""
    return [list(layer) for layer in zip(*routings.values(), strict=True)]


def _total(layer: Sequence, name: str) -> tf.Tensor:
    return tf.add_n([tf.cast(getattr(routing, name), tf.float32) for routing in layer])


def routing_losses(routings: Mapping[str, Sequence]) -> dict[str, tf.Tensor]:
    """`z_loss` and `balance_loss: float32[]`, means over a replica's tokens summed over layers.

    Args:
        routings: a Routing for each layer with experts, by modality; a model without experts has
            none and gets no losses.
    """
    layers = _layers(routings)
    if not layers:
        return {}
    return {
        name: tf.add_n([_total(layer, name) / _total(layer, "num_tokens") for layer in layers])
        for name in ("z_loss", "balance_loss")
    }


def routing_metrics(routings: Mapping[str, Sequence]) -> dict[str, Term]:
    """By layer: `z_loss`, `confidence` (mean gate of what was dispatched) and `left_behind` (share
    of tokens that no expert took)."""
    metrics = {}
    for index, layer in enumerate(_layers(routings)):
        tokens = tf.stop_gradient(_total(layer, "num_tokens"))
        for name, field, weight in (
            ("z_loss", "z_loss", tokens),
            ("left_behind", "left_behind", tokens),
            ("confidence", "gate_sum", _total(layer, "num_dispatched")),
        ):
            value = tf.stop_gradient(_total(layer, field))
            metrics[f"experts_{index}_{name}"] = Term(value, tf.stop_gradient(weight))
    return metrics
