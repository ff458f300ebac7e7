"""What a dictionary of vectors is made of."""

import dataclasses

from mm_models import checks
from mm_models.errors import UserError

ASSIGNMENTS = ("cosine", "l2")
LEARNING = ("gradient", "moving_average")


@dataclasses.dataclass
class QuantizerOptions:
    """How vectors become codes, and how the codes are learned.

    Attributes:
        num_codes: of the dictionary.
        assignment: the code of a vector is the one of highest `cosine`, or of least distance
            (`l2`).
        similarity_dropout_rate: share of the cosines that training sets to 0 before it chooses.
        learning: codes follow a `gradient`, or are a `moving_average` of the vectors that took
            them.
        decay: of moving averages, and of the shares that codes are used by.
        commitment_weight: of the error whose gradient moves the vectors, not the codes.
        restart_share: a code that is used by less than this share of what each would get if all
            were used alike becomes a vector of the batch; 0 never.

    Source: R3, the dictionary of relations; VQ-VAE-2 for moving averages.
    """

    num_codes: int = 128
    assignment: str = "cosine"
    similarity_dropout_rate: float = 0.1
    learning: str = "gradient"
    decay: float = 0.99
    commitment_weight: float = 0.25
    restart_share: float = 0.0


def check_options(options: QuantizerOptions, field: str) -> None:
    """Raises UserError for what cannot work; names it after `field`."""
    checks.check_at_least(options.num_codes, 1, f"{field}.num_codes")
    checks.check_choice(options.assignment, ASSIGNMENTS, f"{field}.assignment")
    checks.check_choice(options.learning, LEARNING, f"{field}.learning")
    for name in ("similarity_dropout_rate", "decay", "restart_share"):
        checks.check_rate(getattr(options, name), f"{field}.{name}")
    checks.check_at_least(options.commitment_weight, 0, f"{field}.commitment_weight")
    if options.assignment == "l2" and options.similarity_dropout_rate:
        raise UserError(
            f"{field}.similarity_dropout_rate is {options.similarity_dropout_rate}, but distances "
            "are not dropped; set it to 0, or assignment to cosine"
        )


def as_quantizer_options(options: QuantizerOptions | dict) -> QuantizerOptions:
    """The options themselves, or those that a dict of their fields describes."""
    return options if isinstance(options, QuantizerOptions) else QuantizerOptions(**options)
