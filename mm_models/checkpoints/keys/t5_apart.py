"""What T5's files know nothing of."""

import keras

from mm_models.backbones.t5 import T5


def apart(model: T5) -> list[keras.Variable]:
    """Weights that a kind of T5 has besides."""
    return model.extra_weights()
