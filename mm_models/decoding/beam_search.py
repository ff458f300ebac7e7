"""Beam search: the best sequences under a length penalty, best first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from mm_models.decoding.config import LENGTH_PENALTIES
from mm_models.decoding.state import (
    Decoded,
    DecoderState,
    LogitsProcessor,
    StepFunction,
    log_probabilities,
)
from mm_models.decoding.token_loop import forced_at, processed, same_shapes

NEVER = float("-inf")


class Beams(NamedTuple):
    """Where a search stands. Both sets are best first; scores of empty places are -inf.

    Attributes:
        position: int32[] ids every live beam holds.
        live_ids: int32[batch, beams, max_length].
        live_scores: float32[batch, beams] log p, without penalty.
        finished_ids: int32[batch, beams, max_length] with the end id.
        finished_scores: float32[batch, beams] with penalty.
        finished_lengths: int32[batch, beams].
        cache: of the live beams, rows = batch * beams.
    """

    position: tf.Tensor
    live_ids: tf.Tensor
    live_scores: tf.Tensor
    finished_ids: tf.Tensor
    finished_scores: tf.Tensor
    finished_lengths: tf.Tensor
    cache: Any


def length_penalty(kind: str, alpha: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """What a sum of log probabilities is divided by, as a function of the length, end included.

    Args:
        kind: "t5x" is ((5 + length) / 6) ** alpha, "plain" is length ** alpha, "none" is 1.
        alpha: 0.6 by default in T5X.

    Raises:
        ValueError: no such kind.
    """
    if kind not in LENGTH_PENALTIES:
        raise ValueError(f"no length penalty {kind!r}; there are {LENGTH_PENALTIES}")

    def penalty(length):
        length = tf.cast(length, tf.float32)
        if kind == "none":
            return tf.ones_like(length)
        return tf.pow((5.0 + length) / 6.0 if kind == "t5x" else length, alpha)

    return penalty


def beam_search(
    step: StepFunction,
    state: DecoderState,
    start_ids: tf.Tensor,
    *,
    max_length: int,
    end_id: int | None,
    num_beams: int,
    length_penalty: str = "t5x",
    alpha: float = 0.6,
    processors: Sequence[LogitsProcessor] = (),
    forced_ids: tf.Tensor | None = None,
    first_position: int | tf.Tensor = 0,
    first_logits: tf.Tensor | None = None,
    limit: int | tf.Tensor | None = None,
) -> Decoded:
    """The `num_beams` best sequences of every row.

    Every step keeps the 2 * num_beams best continuations; those that end are finished, the best of
    the others live on. A row's search is over when no live beam, however it goes on, can score
    better than the worst of a full set of finished ones. Sequences that reach the limit without
    an end come after all finished ones, with their score at that length, and only as far as there
    are places.

    T5X differs in three ways that are not followed: it returns the beams worst first, leaves places
    that no finished sequence fills with a huge negative score, and gives unfinished sequences (only
    where no beam of the row finished) without penalty.

    Args:
        step: the model's step, for rows = batch * beams.
        state: as the model starts it for `num_beams` beams.
        start_ids: int32[batch] input of the first step.
        max_length: ids a beam can hold, end included.
        end_id: the id that ends a sequence; None for sequences of exactly `max_length` ids.
        num_beams: at least 1.
        length_penalty, alpha: see `length_penalty`.
        processors, forced_ids, first_position: see `TokenLoop`. Probabilities are normalised after
            the processors.
        first_logits: float32[batch, vocab]; see `TokenLoop.start`.
        limit: see `greedy`.

    Returns:
        Decoded with a beam axis, best first.

    Source: T5X, decoding.
    """
    search = _Search(
        step,
        max_length if limit is None else tf.minimum(limit, max_length),
        end_id,
        num_beams,
        _PENALTY(length_penalty, alpha),
        processors,
        forced_ids,
        first_position,
    )
    beams = search.start(state, start_ids, max_length)
    if first_logits is not None:
        beams = search.extend(beams, tf.repeat(first_logits, num_beams, axis=0))
    beams = search.run(beams, tf.convert_to_tensor(start_ids, tf.int32), state.memory)
    return search.ranked(beams)


_PENALTY = length_penalty  # the argument of `beam_search` has the same name


class _Search(NamedTuple):
    step: StepFunction
    limit: int | tf.Tensor
    end_id: int | None
    num_beams: int
    penalty: Callable[[tf.Tensor], tf.Tensor]
    processors: Sequence[LogitsProcessor]
    forced_ids: tf.Tensor | None
    first_position: int | tf.Tensor

    def start(self, state: DecoderState, start_ids: tf.Tensor, max_length: int) -> Beams:
        start_ids = tf.convert_to_tensor(start_ids, tf.int32)
        like = tf.repeat(start_ids[:, None], self.num_beams, axis=1)  # [batch, beams]
        ids = tf.zeros_like(tf.repeat(like[:, :, None], max_length, axis=2))
        nothing = tf.fill(tf.shape(like), NEVER)
        # All beams are equal at first, so only one may be continued.
        first = tf.where(tf.range(self.num_beams) == 0, 0.0, nothing)
        return Beams(
            position=tf.constant(0),
            live_ids=ids,
            live_scores=first,
            finished_ids=ids,
            finished_scores=nothing,
            finished_lengths=tf.zeros_like(like),
            cache=state.cache,
        )

    def run(self, beams: Beams, start_ids: tf.Tensor, memory: Any) -> Beams:
        def body(beams):
            previous = tf.gather(beams.live_ids, tf.maximum(beams.position - 1, 0), axis=2)
            inputs = tf.where(beams.position == 0, start_ids[:, None], previous)
            logits, state = self.step(
                tf.reshape(inputs, [-1]),
                self.first_position + beams.position,
                DecoderState(beams.cache, memory),
            )
            cache = same_shapes(state.cache, beams.cache)
            return (self.extend(beams._replace(cache=cache), logits),)

        return tf.while_loop(
            lambda beams: (beams.position < self.limit) & tf.reduce_any(self.improvable(beams)),
            body,
            (beams,),
            parallel_iterations=1,
        )[0]

    def improvable(self, beams: Beams) -> tf.Tensor:
        """bool[batch] whether a live beam can still enter the finished ones."""
        # log p only falls, and a penalty is largest or smallest at one of the two ends.
        best = beams.live_scores[:, 0]
        reachable = tf.maximum(
            best / self.penalty(beams.position + 1), best / self.penalty(self.limit)
        )
        return reachable > beams.finished_scores[:, -1]

    def extend(self, beams: Beams, logits: tf.Tensor) -> Beams:
        """All beams one id longer."""
        scores, ids, parents = self._candidates(beams, logits)
        here = tf.range(beams.live_ids.shape[2]) == beams.position
        longer = tf.gather(beams.live_ids, parents, axis=1, batch_dims=1)
        longer = tf.where(here, ids[:, :, None], longer)  # [batch, candidates, max_length]
        ends = tf.zeros_like(ids, tf.bool) if self.end_id is None else ids == self.end_id
        live_scores, chosen = tf.math.top_k(tf.where(ends, NEVER, scores), k=self.num_beams)
        finished = self._finished(beams, longer, tf.where(ends, scores, NEVER))
        return finished._replace(
            position=beams.position + 1,
            live_ids=tf.gather(longer, chosen, axis=1, batch_dims=1),
            live_scores=live_scores,
            cache=move_rows(beams.cache, tf.gather(parents, chosen, axis=1, batch_dims=1)),
        )

    def _candidates(self, beams, logits):
        """The best continuations, best first: scores, ids and parents, [batch, candidates] each."""
        seen = tf.reshape(beams.live_ids, [-1, beams.live_ids.shape[2]])
        gains = log_probabilities(processed(logits, seen, beams.position, self.processors))
        vocabulary = gains.shape[-1]
        gains = tf.reshape(gains, [-1, self.num_beams, vocabulary])
        forced = forced_at(self.forced_ids, beams.position)
        if forced is not None:
            forced = forced[:, None, None]
            only = tf.where(tf.range(vocabulary) == forced, 0.0, NEVER)
            gains = tf.where(forced >= 0, only, gains)
        # The best of every beam, then the best of those: the same as the best of all, in the same
        # order where scores are equal, without a sort over beams * vocab.
        per_beam = min(2 * self.num_beams, vocabulary)
        gains, ids = tf.math.top_k(gains, k=per_beam)
        scores = tf.reshape(beams.live_scores[:, :, None] + gains, [-1, self.num_beams * per_beam])
        ids = tf.reshape(ids, [-1, self.num_beams * per_beam])
        count = min(2 * self.num_beams, self.num_beams * per_beam)
        scores, places = tf.math.top_k(scores, k=count)
        return scores, tf.gather(ids, places, axis=1, batch_dims=1), places // per_beam

    def _finished(self, beams, longer, scores):
        """`beams` with the best of old and new finished sequences."""
        length = beams.position + 1
        all_scores = tf.concat([beams.finished_scores, scores / self.penalty(length)], axis=1)
        best, chosen = tf.math.top_k(all_scores, k=self.num_beams)
        all_ids = tf.concat([beams.finished_ids, longer], axis=1)
        all_lengths = tf.concat([beams.finished_lengths, tf.fill(tf.shape(scores), length)], axis=1)
        return beams._replace(
            finished_ids=tf.gather(all_ids, chosen, axis=1, batch_dims=1),
            finished_scores=best,
            finished_lengths=tf.gather(all_lengths, chosen, axis=1, batch_dims=1),
        )

    def ranked(self, beams: Beams) -> Decoded:
        """Finished sequences, then live ones in the places that are left."""
        lengths = tf.fill(tf.shape(beams.live_scores), beams.position)
        live_scores = beams.live_scores / self.penalty(beams.position)
        ids = tf.concat([beams.finished_ids, beams.live_ids], axis=1)
        scores = tf.concat([beams.finished_scores, live_scores], axis=1)
        lengths = tf.concat([beams.finished_lengths, lengths], axis=1)
        count = tf.reduce_sum(tf.cast(beams.finished_scores > NEVER, tf.int32), 1, keepdims=True)
        place = tf.range(self.num_beams)[None, :]
        order = tf.where(place < count, place, place - count + self.num_beams)
        ids, scores, lengths = (
            tf.gather(values, order, axis=1, batch_dims=1) for values in (ids, scores, lengths)
        )
        exists = scores > NEVER
        return Decoded(tf.where(exists[:, :, None], ids, 0), scores, tf.where(exists, lengths, 0))


def move_rows(cache: Any, parents: tf.Tensor) -> Any:
    """Gives every beam the cache of the beam it continues.

    Args:
        cache: nested tensors [batch * beams * branches, ...].
        parents: int32[batch, beams] index among the beams of the same row.
    """
    num_beams = parents.shape[1]
    # A product of indices, not a batched gather: one flat gather moves whole rows.
    rows = tf.reshape(parents + tf.range(tf.shape(parents)[0])[:, None] * num_beams, [-1])

    def move(values):
        shape = tf.shape(values)
        branches = shape[0] // tf.shape(rows)[0]
        grouped = tf.reshape(values, tf.concat([[-1, branches], shape[1:]], axis=0))
        moved = tf.reshape(tf.gather(grouped, rows), shape)
        return tf.ensure_shape(moved, values.shape)

    return tf.nest.map_structure(move, cache)
