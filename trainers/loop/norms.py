"""Norms of the model's parts, for the log."""

from typing import Any

import tensorflow as tf


def parameter_norms(model: Any) -> dict[str, float]:
    """Norm of the variables of each top-level part of the model, by the start of their paths."""
    parts: dict[str, list[tf.Tensor]] = {}
    for variable in model.trainable_variables:
        names = variable.path.split("/")
        part = names[1] if len(names) > 2 else names[0]
        parts.setdefault(part, []).append(variable.value.read_value())
    return {
        f"train/parameter_norm/{part}": float(tf.linalg.global_norm(values))
        for part, values in parts.items()
    }
