"""Decoding as a config says."""

from collections.abc import Sequence

import tensorflow as tf

from mm_models.decoding.beam_search import beam_search
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.processors import MinimumLength, NoRepeatNgram
from mm_models.decoding.sampling import greedy, sample
from mm_models.decoding.state import Decoded, DecoderState, LogitsProcessor, StepFunction


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
