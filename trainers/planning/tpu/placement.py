"""Where an experiment is to run: a slice, and how a model is laid over it."""

import dataclasses

from mm_models.errors import UserError
from trainers.planning.tpu.chips import Target, parse_target


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where an experiment is to run.

    Attributes:
        target: the slice.
        model_parallel: its devices that share one copy of the model.
    """

    target: Target
    model_parallel: int

    @property
    def num_replicas(self) -> int:
        """Copies of the model. Raises UserError where the devices cannot be shared out."""
        if self.target.num_devices % self.model_parallel:
            raise UserError(
                f"{self.target.topology} has {self.target.num_devices} devices, which "
                f"--model_parallel={self.model_parallel} does not divide; use a divisor"
            )
        return self.target.num_devices // self.model_parallel


def placements(slices: str, model_parallel: int) -> list[Placement]:
    """Those of `--compile`, whose slices have commas between them. Raises UserError for a name that
    is none."""
    return [Placement(parse_target(name), model_parallel) for name in slices.split(",")]
