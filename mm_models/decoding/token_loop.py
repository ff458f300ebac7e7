"""One token after another in one compiled loop, which may stop anywhere and go on later."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from mm_models.decoding.state import (
    Decoded,
    DecoderState,
    LogitsProcessor,
    StepFunction,
    log_normalizer,
)

# (logits float32[batch, vocab], position int32[]) -> int32[batch]
Choice = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Progress(NamedTuple):
    """Where a loop stands; tensors only, so that it can leave a compiled function and come back.

    Attributes:
        position: int32[] ids chosen so far.
        ids: int32[batch, max_length], 0 from `position` and after a row's end.
        last_ids: int32[batch] the next step's input.
        ended: bool[batch].
        scores: float32[batch].
        lengths: int32[batch].
        cache: the model's.
    """

    position: tf.Tensor
    ids: tf.Tensor
    last_ids: tf.Tensor
    ended: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor
    cache: Any

    def decoded(self) -> Decoded:
        """What is written so far."""
        return Decoded(self.ids, self.scores, self.lengths)


@dataclasses.dataclass(frozen=True)
class TokenLoop:
    """Writes one sequence per row.

    `start` and then `advance` give the whole; a server that streams calls a compiled `advance` many
    times with a growing `until`, and reads `progress.ids` in between. A model whose parts need
    different steps (heads over different slices of the vocabulary) advances with one loop after
    another over the same progress.

    Args:
        step: the model's step.
        choose: logits to ids.
        max_length: ids a row can hold.
        end_id: the id that ends a row; None for sequences of fixed length.
        processors: applied to the logits in this order.
        forced_ids: int32[1 or batch, at most max_length] ids that stand whatever the model says, -1
            where it chooses; or None.
        first_position: position in the model's sequence of the id that predicts the first one
            written: 0 after a start id, prompt length - 1 after a prompt that was read at once.
    """

    step: StepFunction
    choose: Choice
    max_length: int
    end_id: int | None
    processors: Sequence[LogitsProcessor] = ()
    forced_ids: tf.Tensor | None = None
    first_position: int | tf.Tensor = 0

    def start(
        self, state: DecoderState, start_ids: tf.Tensor, first_logits: tf.Tensor | None = None
    ) -> Progress:
        """A loop before its first id.

        Args:
            state: as the model starts it.
            start_ids: int32[batch] input of the first step.
            first_logits: float32[batch, vocab] that reading a prompt already gave: the first id is
                chosen from them, and `start_ids` is not fed to the model.
        """
        start_ids = tf.convert_to_tensor(start_ids, tf.int32)
        batch = tf.shape(start_ids)[0]
        ids = tf.zeros([batch, self.max_length], tf.int32)
        progress = Progress(
            position=tf.constant(0),
            ids=tf.ensure_shape(ids, [start_ids.shape[0], self.max_length]),
            last_ids=start_ids,
            ended=tf.zeros_like(start_ids, tf.bool),
            scores=tf.zeros_like(start_ids, tf.float32),
            lengths=tf.zeros_like(start_ids),
            cache=state.cache,
        )
        return progress if first_logits is None else self._write(progress, first_logits)

    def advance(
        self, progress: Progress, memory: Any = None, until: int | tf.Tensor | None = None
    ) -> Progress:
        """Goes on until `until` ids are written (default all) or every row has ended.

        Args:
            progress: of `start` or an earlier `advance`.
            memory: `DecoderState.memory`.
            until: int32[] at most `max_length`.
        """
        until = self.max_length if until is None else tf.minimum(until, self.max_length)

        def unfinished(progress):
            more = progress.position < until
            if self.end_id is None:
                return more
            return more & ~tf.reduce_all(progress.ended)

        def body(progress):
            logits, state = self.step(
                progress.last_ids,
                self.first_position + progress.position,
                DecoderState(progress.cache, memory),
            )
            return (
                self._write(
                    progress._replace(cache=same_shapes(state.cache, progress.cache)), logits
                ),
            )

        return tf.while_loop(unfinished, body, (progress,), parallel_iterations=1)[0]

    def run(
        self,
        state: DecoderState,
        start_ids: tf.Tensor,
        first_logits: tf.Tensor | None = None,
        until: int | tf.Tensor | None = None,
    ) -> Decoded:
        """`start` and `advance` at once."""
        progress = self.start(state, start_ids, first_logits)
        return self.advance(progress, state.memory, until).decoded()

    def _write(self, progress: Progress, logits: tf.Tensor) -> Progress:
        logits = processed(logits, progress.ids, progress.position, self.processors)
        chosen = self.choose(logits, progress.position)
        # The log probability of one id needs no array of all of them.
        gains = tf.gather(logits, chosen, axis=1, batch_dims=1) - log_normalizer(logits)
        forced = forced_at(self.forced_ids, progress.position)
        if forced is not None:
            gains = tf.where(forced >= 0, 0.0, gains)
            chosen = tf.where(forced >= 0, forced, chosen)
        alive = ~progress.ended
        chosen = tf.where(alive, chosen, 0)
        here = tf.range(self.max_length) == progress.position
        ended = progress.ended
        if self.end_id is not None:
            ended |= chosen == self.end_id
        return Progress(
            position=progress.position + 1,
            ids=tf.where(here, chosen[:, None], progress.ids),
            last_ids=chosen,
            ended=ended,
            scores=progress.scores + tf.where(alive, gains, 0.0),
            lengths=progress.lengths + tf.cast(alive, tf.int32),
            cache=progress.cache,
        )


def processed(
    logits: tf.Tensor,
    ids_so_far: tf.Tensor,
    position: tf.Tensor,
    processors: Sequence[LogitsProcessor],
) -> tf.Tensor:
    """float32 logits after all processors."""
    logits = tf.cast(logits, tf.float32)
    for processor in processors:
        logits = processor(logits, ids_so_far, position)
    return logits


def forced_at(forced_ids: tf.Tensor | None, position: tf.Tensor) -> tf.Tensor | None:
    """int32[1 or batch] the ids that must stand at `position`, -1 where the model chooses."""
    if forced_ids is None:
        return None
    forced_ids = tf.convert_to_tensor(forced_ids, tf.int32)
    last = forced_ids.shape[1] - 1
    column = tf.gather(forced_ids, tf.minimum(position, last), axis=1)
    return tf.where(position <= last, column, -1)


def same_shapes(new: Any, old: Any) -> Any:
    """`new` with the static shapes of `old`, which a loop needs.

    Raises:
        ValueError: a step returned a cache of another structure or shape.
    """
    return tf.nest.map_structure(lambda value, like: tf.ensure_shape(value, like.shape), new, old)
