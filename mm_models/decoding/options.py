"""How to decode, as plain fields that a YAML file can set."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from mm_models.config_tools import check_choice, check_positive
from mm_models.decoding.beam_search import LENGTH_PENALTIES, beam_search
from mm_models.decoding.processors import MinimumLength, NoRepeatNgram
from mm_models.decoding.sampling import greedy, sample
from mm_models.decoding.state import Decoded, DecoderState, LogitsProcessor, StepFunction
from mm_models.errors import UserError

METHODS = ("greedy", "sample", "beam")


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
        for name in ("min_length", "no_repeat_ngram", "temperature", "top_k", "alpha"):
            if getattr(self, name) < 0:
                raise UserError(f"{field}.{name} is {getattr(self, name)}; it must be at least 0")
        if not 0 < self.top_p <= 1:
            raise UserError(f"{field}.top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.min_length >= self.max_length:
            raise UserError(
                f"{field}.min_length is {self.min_length}; it must be below max_length, which is "
                f"{self.max_length}"
            )


def decode(
    config: DecodingConfig,
    step: StepFunction,
    state: DecoderState,
    start_ids: tf.Tensor,
    end_id: int | None,
    seed: tf.Tensor | None = None,
    *,
    processors: Sequence[LogitsProcessor] = (),
    forced_ids: tf.Tensor | None = None,
    first_position: int | tf.Tensor = 0,
    first_logits: tf.Tensor | None = None,
    max_length: int | None = None,
    limit: int | tf.Tensor | None = None,
) -> Decoded:
    """Decodes as the config says.

    Args:
        config: which method, and its options.
        step, state, start_ids, end_id: see `greedy`; the state is started for `config.beams` beams.
        seed: int32[2] or int32[batch, 2]; needed by "sample" only.
        processors: applied before the config's own.
        forced_ids, first_position, first_logits, limit: see `greedy`.
        max_length: places that the state was started for, if other than the config's.

    Returns:
        Decoded; with a beam axis for "beam" (see `best`).

    Raises:
        ValueError: sampling without a seed.
    """
    common = {
        "max_length": max_length or config.max_length,
        "end_id": end_id,
        "processors": (*processors, *_own_processors(config, end_id)),
        "forced_ids": forced_ids,
        "first_position": first_position,
        "first_logits": first_logits,
        "limit": limit,
    }
    if config.method == "greedy":
        return greedy(step, state, start_ids, **common)
    if config.method == "beam":
        return beam_search(
            step,
            state,
            start_ids,
            num_beams=config.num_beams,
            length_penalty=config.length_penalty,
            alpha=config.alpha,
            **common,
        )
    if seed is None:
        raise ValueError("sampling draws random numbers and needs a seed")
    return sample(
        step,
        state,
        start_ids,
        seed=seed,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        **common,
    )


def _own_processors(config, end_id):
    if config.min_length and end_id is not None:
        yield MinimumLength(config.min_length, end_id)
    if config.no_repeat_ngram:
        yield NoRepeatNgram(config.no_repeat_ngram)
