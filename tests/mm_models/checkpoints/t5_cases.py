"""Small T5 models whose weights follow from their names, so that files need not hold them."""

import zlib

import numpy as np

BATCH, NUM_INPUTS, NUM_TARGETS, VOCABULARY = 2, 9, 7, 40
SHAPE = {
    "width": 16,
    "num_heads": 3,
    "head_dim": 8,
    "mlp_dim": 24,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "vocabulary_size": VOCABULARY,
}
# Ours by name of the family in transformers.
CASES = {
    "mt5": {**SHAPE, "size": "debug"},
    "t5": {**SHAPE, "size": "debug", "feed_forward": "relu", "tie_logits": True},
    "umt5": {**SHAPE, "size": "debug", "per_layer_bias": True, "num_decoder_layers": 2},
}


# Of the T5X checkpoints that lie in tests/golden.
T5X_SHAPE = {
    "width": 6,
    "num_heads": 2,
    "head_dim": 4,
    "mlp_dim": 5,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "vocabulary_size": 12,
}


def named_value(name: str, shape) -> np.ndarray:
    """float32[shape] drawn from a seed that is the name's."""
    random = np.random.RandomState(zlib.crc32(name.encode("utf-8")))
    spread = 1.0 if len(shape) > 1 and "relative" not in name and shape[0] == VOCABULARY else 0.3
    value = random.normal(size=shape) * spread
    return (np.abs(value) + 0.5 if len(shape) == 1 else value).astype(np.float32)


def batch() -> dict[str, np.ndarray]:
    """`inputs`, of which the second row ends in padding, and `targets`."""
    random = np.random.RandomState(5)
    inputs = random.randint(2, VOCABULARY, [BATCH, NUM_INPUTS])
    inputs[1, 6:] = 0
    return {"inputs": inputs, "targets": random.randint(2, VOCABULARY, [BATCH, NUM_TARGETS])}


class NamedSource:
    """A source that holds every key of some places, with the values of their names."""

    path, step, settings = "memory", 0, None

    def __init__(self, places):
        self.shapes = {place.key: place.shape for place in places}

    def value(self, key):
        return named_value(key, self.shapes[key])
