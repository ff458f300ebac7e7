"""Several instances of an example (views, clips, captions) as rows of the batch, and back."""

import tensorflow as tf

from mm_models.errors import UserError


def fold(values: tf.Tensor, rank: int, name: str) -> tuple[tf.Tensor, list[int]]:
    """Instances in the batch axis.

    Args:
        values: dtype[batch, ...] or dtype[batch, instances, ...].
        rank: axes of one instance.
        name: what the values are, for the message.

    Returns:
        dtype[batch * instances, ...], and the size of the instance axis as a list, empty where
        there is none.

    Raises:
        UserError: more than one axis stands between the batch and an instance, or none is left.
    """
    if values.shape.rank < 1 + rank:
        raise UserError(
            f"{name} has shape {tuple(values.shape)}; an example has {rank} axes behind the batch"
        )
    extra = values.shape[1 : values.shape.rank - rank]
    if len(extra) > 1:
        raise UserError(
            f"{name} has shape {tuple(values.shape)}; at most one axis may stand between "
            f"the batch and the {rank} axes of an example"
        )
    return tf.reshape(values, [-1, *values.shape[1 + len(extra) :]]), list(extra)


def unfold(rows: tf.Tensor, extra: list[int]) -> tf.Tensor:
    """dtype[batch * instances, ...] -> dtype[batch, instances, ...], the inverse of `fold`."""
    return tf.reshape(rows, [-1, *extra, *rows.shape[1:]])
