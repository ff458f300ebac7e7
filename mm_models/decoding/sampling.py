"""Greedy choice and sampling with temperature, top-k and top-p."""

from collections.abc import Sequence

import tensorflow as tf

from mm_models.decoding.state import Decoded, DecoderState, LogitsProcessor, StepFunction
from mm_models.decoding.token_loop import Choice, TokenLoop
from mm_models.layers import randomness

# float32 numbers from 0 to 1 are ordered as their bits are; these are the bits of 1.
_BITS_OF_ONE = 0x3F800000


def greedy(
    step: StepFunction,
    state: DecoderState,
    start_ids: tf.Tensor,
    *,
    max_length: int,
    end_id: int | None,
    processors: Sequence[LogitsProcessor] = (),
    forced_ids: tf.Tensor | None = None,
    first_position: int | tf.Tensor = 0,
    first_logits: tf.Tensor | None = None,
    limit: int | tf.Tensor | None = None,
) -> Decoded:
    """The most probable id at every position, the lowest of equals.

    Args:
        step: the model's step.
        state: as the model starts it.
        start_ids: int32[batch] input of the first step.
        max_length: ids a row can hold.
        end_id: the id that ends a row; None writes exactly `max_length` ids.
        processors, forced_ids, first_position: see `TokenLoop`.
        first_logits: see `TokenLoop.start`.
        limit: int32[] stop after so many ids, where fewer than `max_length` are wanted of a graph
            compiled for that length; or None.
    """
    loop = TokenLoop(
        step, most_probable, max_length, end_id, processors, forced_ids, first_position
    )
    return loop.run(state, start_ids, first_logits, limit)


def sample(
    step: StepFunction,
    state: DecoderState,
    start_ids: tf.Tensor,
    *,
    max_length: int,
    end_id: int | None,
    seed: tf.Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    processors: Sequence[LogitsProcessor] = (),
    forced_ids: tf.Tensor | None = None,
    first_position: int | tf.Tensor = 0,
    first_logits: tf.Tensor | None = None,
    limit: int | tf.Tensor | None = None,
) -> Decoded:
    """Draws every id; see `greedy` for the other arguments.

    Scores are log probabilities of the model, before temperature, top-k and top-p.

    Args:
        step, state, start_ids, max_length, end_id: as of `greedy`.
        seed: int32[2] for the batch, or int32[batch, 2] of each row. What is drawn for a row is a
            function of its own seed and logits: neither other rows nor `max_length` matter.
        temperature: divides the logits; 0 is greedy.
        top_k: keep so many of the most probable ids; 0 keeps all.
        top_p: keep the fewest most probable ids with at least this mass; 1 keeps all.
        processors, forced_ids, first_position, first_logits, limit: as of `greedy`.
    """
    seeds = row_seeds(seed, tf.shape(start_ids)[0])
    choose = sampler(
        seeds, max_length=max_length, temperature=temperature, top_k=top_k, top_p=top_p
    )
    loop = TokenLoop(step, choose, max_length, end_id, processors, forced_ids, first_position)
    return loop.run(state, start_ids, first_logits, limit)


def most_probable(logits: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """int32[rows] index of the largest logit, the lowest of equals; `position` does not matter."""
    del position
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def row_seeds(seed: tf.Tensor, num_rows: int | tf.Tensor) -> tf.Tensor:
    """int32[rows, 2]: row i's is the given seed folded with i; seeds of rows are kept."""
    seed = tf.convert_to_tensor(seed, tf.int32)
    if seed.shape.rank == 2:
        return seed
    return tf.map_fn(lambda row: randomness.fold_in(seed, row), tf.range(num_rows))


def sampler(
    seeds: tf.Tensor,
    *,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Choice:
    """The choice of `sample`, for a `TokenLoop`.

    Args:
        seeds: int32[rows, 2].
        max_length: ids that are drawn per row at most.
        temperature, top_k, top_p: as of `sample`.

    Raises:
        ValueError: an option is out of range.
    """
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"temperature {temperature} and top_k {top_k} must be at least 0, top_p {top_p} "
            "above 0 and at most 1"
        )
    if temperature == 0:
        return most_probable
    # One number per row and position, drawn at once: the loop has no random numbers to make.
    uniforms = tf.map_fn(
        lambda seed: randomness.uniform([max_length], seed), seeds, fn_output_signature=tf.float32
    )

    def choose(logits, position):
        kept, ids = keep_top_k(logits / temperature, top_k)
        probabilities = keep_top_p(tf.nn.softmax(kept, axis=-1), top_p)
        index = draw(probabilities, tf.gather(uniforms, position, axis=1))
        return index if ids is None else tf.gather(ids, index, axis=1, batch_dims=1)

    return choose


def keep_top_k(logits: tf.Tensor, top_k: int) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The k largest logits, descending, and their ids int32[rows, k]; all and None for k = 0."""
    if top_k == 0 or top_k >= logits.shape[-1]:
        return logits, None
    return tf.math.top_k(logits, k=top_k)


def keep_top_p(probabilities: tf.Tensor, top_p: float) -> tf.Tensor:
    """Zeroes the least probable ids as long as the rest has a mass of at least `top_p`.

    The smallest probability that stays is found by bisection over the bits of a float, 30 sums over
    the vocabulary instead of a sort. Equal probabilities stay or go together.

    Args:
        probabilities: float32[rows, vocab] that sum to 1.
        top_p: in (0, 1]; 1 keeps all.

    Returns:
        float32[rows, vocab], not normalised again.
    """
    if top_p == 1.0:
        return probabilities

    def mass_from(bits):
        kept = probabilities >= tf.bitcast(bits, tf.float32)[:, None]
        return tf.reduce_sum(tf.where(kept, probabilities, 0.0), axis=-1)

    def body(low, high):
        middle = (low + high + 1) // 2
        enough = mass_from(middle) >= top_p
        return tf.where(enough, middle, low), tf.where(enough, high, middle - 1)

    low = tf.zeros_like(probabilities[:, 0], tf.int32)
    low, _ = tf.while_loop(
        lambda low, high: True,
        body,
        (low, tf.fill(tf.shape(low), _BITS_OF_ONE)),
        maximum_iterations=30,
    )
    smallest = tf.bitcast(low, tf.float32)[:, None]
    return tf.where(probabilities >= smallest, probabilities, 0.0)


def draw(weights: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """One index per row with probability in proportion to its weight.

    Args:
        weights: float32[rows, choices], at least 0; an index of weight 0 is never drawn.
        uniforms: float32[rows] in [0, 1).

    Returns:
        int32[rows].
    """
    sums = tf.cumsum(weights, axis=-1)
    passed = (sums > uniforms[:, None] * sums[:, -1:]) & (weights > 0.0)
    # Rounding can leave nothing above the last sum; the most probable index then stands in.
    found = tf.reduce_any(passed, axis=-1)
    first = tf.argmax(tf.cast(passed, tf.float32), axis=-1, output_type=tf.int32)
    return tf.where(found, first, tf.argmax(weights, axis=-1, output_type=tf.int32))
