"""What an optimizer keeps for a weight, told from the weight's shape."""

from trainers.optimization.adafactor import factored_axes, without
from trainers.optimization.config import OptimizerConfig

# Moments as large as the weight itself, by kind.
_WHOLE = {"adam": 2, "adamw": 2, "lamb": 2}
# Every optimizer counts its updates, int64.
COUNTER_BYTES = 8


def slot_axes(config: OptimizerConfig, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The axes of a weight that each of its slots has, in order; a whole moment has all of them."""
    every = tuple(range(len(shape)))
    if config.kind == "adafactor":
        factored = factored_axes(shape, config.min_factored_size)
        if factored is None:
            return [every]
        second, largest = factored
        return [without(every, largest), without(every, second)]
    if config.kind == "sgd":
        return [every] if config.momentum else []
    return [every] * _WHOLE[config.kind]
