"""How often each task of a mixture is taken. Imports no TensorFlow."""

from mm_models import checks
from mm_models.errors import UserError
from trainers.data.parts.prompted.config import PromptedInputConfig

# The fields that each mixing reads.
_READ: dict[str, tuple[str, ...]] = {
    "rate": (),
    "size": ("scale", "maximum"),
    "temperature": ("scale", "maximum", "temperature"),
}


def task_weights(config: PromptedInputConfig, num_records: dict[str, int]) -> dict[str, float]:
    """Relative weight of every task.

    Args:
        config: rates, and how they are meant.
        num_records: records that each task reads.

    Source: seqio's mixing rates, `min(scale * n, maximum) ** (1 / temperature)`.
    """
    weights = {}
    for name, task in config.tasks.items():
        size = 1.0
        if config.mixing != "rate":
            size = num_records[name] * config.scale
            size = min(size, config.maximum) if config.maximum else size
        if config.mixing == "temperature":
            size **= 1 / config.temperature
        weights[name] = task.rate * size
    return weights


def check_mixing(config: PromptedInputConfig, name: str) -> None:
    """Raises UserError for values that cannot be, and for those that the mixing does not read."""
    fields = checks.choose(_READ, config.mixing, f"{name}.mixing")
    plain = PromptedInputConfig()
    for field in ("scale", "maximum", "temperature"):
        value = getattr(config, field)
        lowest = 0.0 if field == "maximum" else 1e-12
        if not lowest <= value < float("inf"):
            raise UserError(f"{name}.{field} is {value}; it must be a finite number above 0")
        if field not in fields and value != getattr(plain, field):
            raise UserError(
                f"{name}.{field} is {value}, which mixing {config.mixing!r} does not read; leave it"
                " out, or choose another mixing"
            )
    for task, each in config.tasks.items():
        checks.check_positive(each.rate, f"{name}.tasks.{task}.rate")
