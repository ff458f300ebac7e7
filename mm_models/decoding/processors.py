"""Changes to a step's logits before an id is chosen."""

import dataclasses

import numpy as np
import tensorflow as tf

IMPOSSIBLE = float("-inf")


class LegalIds:
    """Lets only some ids stand at each position.

    Args:
        sets: bool[sets, vocab] true for the ids of a set.
        set_of_position: int32[max_length] or int32[batch, max_length] which set rules where.
            Positions beyond it follow its last column.

    Raises:
        ValueError: `sets` has no two axes, or a set is empty or does not exist.

    Source: VideoPoet for the use: forced markers, visual codes, one range per level of audio codes.
    """

    def __init__(self, sets, set_of_position):
        sets, positions = np.asarray(sets, bool), np.asarray(set_of_position, np.int32)
        if sets.ndim != 2 or not sets.any(axis=1).all():
            raise ValueError("sets must be bool[sets, vocab] with a legal id in every set")
        if not 0 <= positions.min() <= positions.max() < len(sets):
            raise ValueError(f"set_of_position names a set that is none of the {len(sets)}")
        self._sets, self._set_of_position = sets, positions

    def __call__(self, logits, ids_so_far, position):
        del ids_so_far
        last = self._set_of_position.shape[-1] - 1
        chosen = tf.gather(tf.constant(self._set_of_position), tf.minimum(position, last), axis=-1)
        legal = tf.gather(tf.constant(self._sets), chosen)  # [vocab] or [batch, vocab]
        if legal.shape.rank == 2:
            # Beams of a row share its positions.
            legal = tf.repeat(legal, tf.shape(logits)[0] // legal.shape[0], axis=0)
        return tf.where(legal, logits, IMPOSSIBLE)


@dataclasses.dataclass(frozen=True)
class MinimumLength:
    """Forbids the end before `length` other ids are written."""

    length: int
    end_id: int

    def __call__(self, logits, ids_so_far, position):
        del ids_so_far
        is_end = tf.range(logits.shape[-1]) == self.end_id
        return tf.where(is_end & (position < self.length), IMPOSSIBLE, logits)


@dataclasses.dataclass(frozen=True)
class NoRepeatNgram:
    """Forbids an id that would complete a run of `size` ids that the row already holds."""

    size: int

    def __call__(self, logits, ids_so_far, position):
        known = self.size - 1
        num_windows = ids_so_far.shape[1] - known
        if num_windows < 1:
            return logits
        # Window w holds ids w ... w + known - 1 and would be completed by id w + known.
        same = tf.broadcast_to(
            tf.range(num_windows) + known < position, tf.shape(ids_so_far[:, known:])
        )
        for offset in range(known):
            recent = tf.gather(ids_so_far, tf.maximum(position - known + offset, 0), axis=1)
            same &= ids_so_far[:, offset : offset + num_windows] == recent[:, None]
        completions = ids_so_far[:, known:]
        rows = tf.broadcast_to(tf.range(tf.shape(logits)[0])[:, None], tf.shape(completions))
        penalties = tf.where(same, IMPOSSIBLE, float("inf"))
        return tf.tensor_scatter_nd_min(logits, tf.stack([rows, completions], -1), penalties)
