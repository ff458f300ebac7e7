"""How to decode, as plain fields that a YAML file can set; imports no TensorFlow."""

import dataclasses

from mm_models.checks import check_choice, check_fields, check_part, check_positive
from mm_models.errors import UserError

METHODS = ("greedy", "sample", "beam")
LENGTH_PENALTIES = ("t5x", "plain", "none")


@dataclasses.dataclass
class DecodingConfig:
    """Used by evaluators, export and prediction.

    Attributes:
        method: "greedy", "sample" or "beam".
        max_length: ids of a sequence at most, end included.
        min_length: ids before the end at least.
        no_repeat_ngram: no run of so many ids twice; 0 allows it.
        num_beams, length_penalty, alpha: of "beam"; see `beam_search`.
        temperature, top_k, top_p: of "sample"; see `sample`.
    """

    method: str = "greedy"
    max_length: int = 64
    min_length: int = 0
    no_repeat_ngram: int = 0
    num_beams: int = 4
    length_penalty: str = "t5x"
    alpha: float = 0.6
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    @property
    def beams(self) -> int:
        """Beams a model's state must be started for; 1 unless the method is "beam"."""
        return self.num_beams if self.method == "beam" else 1

    def check(self, field: str) -> None:
        """Raises UserError, naming `field` of the config, for a value out of range."""
        check_choice(self.method, METHODS, f"{field}.method")
        check_choice(self.length_penalty, LENGTH_PENALTIES, f"{field}.length_penalty")
        check_positive(self.max_length, f"{field}.max_length")
        check_positive(self.num_beams, f"{field}.num_beams")
        not_negative = ("min_length", "no_repeat_ngram", "temperature", "top_k", "alpha")
        check_fields(self, 0, not_negative, field)
        check_part(self.top_p, f"{field}.top_p")
        if self.min_length >= self.max_length:
            raise UserError(
                f"{field}.min_length is {self.min_length}; it must be below max_length, which is "
                f"{self.max_length}"
            )
