"""Norms of the model's parts, for the log."""

import keras
import tensorflow as tf


class ParameterNorms:
    """Norm of the trainable variables of each part of the model; see `part_of`."""

    def __init__(self, model: keras.Model):
        """Groups the variables; nothing is computed yet."""
        self._parts: dict[str, list[keras.Variable]] = {}
        for variable in model.trainable_variables:
            self._parts.setdefault(part_of(variable.path), []).append(variable)
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


def part_of(path: str) -> str:
    """The part of a model in which a variable lies: its tower or other layer, and the layer in
    there, such as `language/encoder`; the one name alone where there is no layer in there."""
    layers = path.split("/")[:-1] or [path]
    return "/".join(layers[:2])
