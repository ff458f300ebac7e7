"""What the axes of activations count, said where it decides how devices can share a model.

Layers say it always; it means nothing unless whoever traces them gives a meaning (`placing`).
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import tensorflow as tf

# A tensor, what an axis of it counts (`heads`, `mlp`, `experts` or `vocabulary`) and that axis; or
# a tensor that every device needs whole, and twice None.
Place = Callable[[tf.Tensor, str | None, int | None], tf.Tensor]

_place: contextvars.ContextVar[Place | None] = contextvars.ContextVar("place", default=None)


def split_by(kind: str, tensor: tf.Tensor, axis: int) -> tf.Tensor:
    """The tensor itself, of which devices may share an axis.

    Args:
        kind: what the axis counts: `heads`, `mlp`, `experts` or `vocabulary`.
        tensor: any.
        axis: its number, from 0.
    """
    place = _place.get()
    return tensor if place is None else place(tensor, kind, axis)


def whole(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor itself, which every device reads all of; so is its gradient."""
    place = _place.get()
    return tensor if place is None else place(tensor, None, None)


@contextlib.contextmanager
def placing(place: Place) -> Iterator[None]:
    """Asks `place` for each of these tensors in what is traced inside, by this thread alone."""
    before = _place.set(place)
    try:
        yield
    finally:
        _place.reset(before)
