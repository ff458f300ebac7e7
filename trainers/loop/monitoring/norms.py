"""Norms of the model's parts, for the log."""

import keras
import tensorflow as tf


class ParameterNorms:
    """Norm of the variables of each top-level part of the model, by the start of their paths."""

    def __init__(self, model: keras.Model):
        """Groups the trainable variables; nothing is computed yet."""
        self._parts: dict[str, list[keras.Variable]] = {}
        for variable in model.trainable_variables:
            names = variable.path.split("/")
            part = names[1] if len(names) > 2 else names[0]
            self._parts.setdefault(part, []).append(variable)
        self._compute = tf.function(self._norms)

    def __call__(self) -> dict[str, float]:
        """Norms as they are logged."""
        values = self._compute().numpy()
        return {
            f"train/parameter_norm/{part}": float(value)
            for part, value in zip(self._parts, values, strict=True)
        }

    def _norms(self) -> tf.Tensor:
        parts = ([each.value.read_value() for each in part] for part in self._parts.values())
        return tf.stack([tf.linalg.global_norm(values) for values in parts])
