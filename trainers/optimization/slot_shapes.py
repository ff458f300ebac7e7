"""What an optimizer keeps for a weight, told from the weight's shape."""

from trainers.optimization.adafactor import factored_axes, without
from trainers.optimization.config import OptimizerConfig

# Moments as large as the weight itself, by kind.
_WHOLE = dict.fromkeys(("adam", "adamw", "lamb"), ("momentum", "velocity"))
# Every optimizer counts its updates, int64.
COUNTER_BYTES = 8


def slot_axes(config: OptimizerConfig, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The axes of a weight that each of its slots has, by kind of slot, in order; a whole moment
    has all of them."""
    every = tuple(range(len(shape)))
    if config.kind == "adafactor":
        factored = factored_axes(shape, config.min_factored_size)
        if factored is None:
            return {"second_moment": every}
        second, largest = factored
        return {"rows": without(every, largest), "columns": without(every, second)}
    if config.kind == "sgd":
        return {"momentum": every} if config.momentum else {}
    return dict.fromkeys(_WHOLE[config.kind], every)


def slot_name(path: str, kind: str) -> str:
    """The name that an optimizer gives a slot of the weight at `path`."""
    return f"{path.replace('/', '_')}_{kind}"
