"""Whether and how the gradients of two losses on shared parameters are brought into agreement."""

import dataclasses

from mm_models import checks
from mm_models.errors import UserError

METHODS = ("none", "monitor", "realign", "curriculum", "both")
GRANULARITIES = ("batch", "microbatch", "sample")
MEASURES = ("feature", "last_layer", "exact")
UPDATES = ("feature", "parameter")


@dataclasses.dataclass
class HarmonizationConfig:
    """Cross-modality gradient harmonization: video-audio against video-text.

    Attributes:
        method: `none`; `monitor` measures conflict and changes nothing; `realign` projects
            conflicting gradients off each other; `curriculum` leaves conflicting groups out; `both`
            realigns the groups that the curriculum keeps.
        granularity: what has one gradient per loss: the global `batch`, a `microbatch` of
            consecutive rows of a replica, or each `sample`.
        microbatch_size: rows of a `microbatch`; divides the replica's batch.
        measure: gradients that are compared. `feature`: by the video's pooled row; `last_layer`: by
            the last Dense of the shared stack, in closed form; `exact`: by all shared parameters,
            which costs two backward passes a group.
        update: how gradients are realigned. `feature`: the video's pooled cotangents are projected,
            and one backward pass does the rest; `parameter`: the parameter gradients are, with the
            inner products of `measure`, and what the losses do not share takes the plain sum.
        gamma_start, gamma_end: the curriculum keeps groups whose cosine is above a threshold that
            goes linearly from the one to the other.
        ramp_begin, ramp_end: steps between which it does; nothing is left out before.
        restrain: leave out of what the method changes the shift and the scale of all rows of a
            modality, to which batch norm makes the loss blind; without this, weighing single rows
            makes features collapse and gradients explode.
        random_scores: control: the curriculum gives each group another group's cosine, so that as
            many are left out, but others.
    """

    method: str = "none"
    granularity: str = "sample"
    microbatch_size: int = 8
    measure: str = "last_layer"
    update: str = "feature"
    gamma_start: float = -0.3
    gamma_end: float = 0.0
    ramp_begin: int = 100_000
    ramp_end: int = 200_000
    restrain: bool = True
    random_scores: bool = False

    @property
    def realigns(self) -> bool:
        """Whether gradients are projected."""
        return self.method in ("realign", "both")

    @property
    def filters(self) -> bool:
        """Whether groups are left out."""
        return self.method in ("curriculum", "both")


def check(config: HarmonizationConfig, field: str) -> None:
    """Raises UserError for values that cannot work; `field` is where the config stands."""
    for name, choices in (
        ("method", METHODS),
        ("granularity", GRANULARITIES),
        ("measure", MEASURES),
        ("update", UPDATES),
    ):
        checks.check_choice(getattr(config, name), choices, f"{field}.{name}")
    checks.check_at_least(config.microbatch_size, 1, f"{field}.microbatch_size")
    if not -1.0 <= config.gamma_start <= config.gamma_end <= 1.0:
        raise UserError(
            f"{field}.gamma_start and gamma_end are {config.gamma_start} and {config.gamma_end}; "
            "cosines are in [-1, 1] and the threshold must not fall"
        )
    if not 0 <= config.ramp_begin <= config.ramp_end:
        raise UserError(
            f"{field}.ramp_begin and ramp_end are {config.ramp_begin} and {config.ramp_end}; they "
            "must be steps in this order"
        )
    if config.random_scores and (not config.filters or config.granularity == "batch"):
        raise UserError(
            f"{field}.random_scores hands scores from group to group, which needs a curriculum on "
            "samples or microbatches; set it to false"
        )
