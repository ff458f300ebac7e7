"""Users' mistakes that surface inside a running data set."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from mm_models.errors import UserError


def as_user_error(error: BaseException) -> UserError | None:
    """The UserError that a reader raised inside TensorFlow, or None where there was none.

    TensorFlow turns exceptions of Python readers into its own and keeps only the text.

    Args:
        error: what iterating a data set raised.
    """
    if isinstance(error, UserError):
        return error
    if not isinstance(error, tf.errors.OpError):
        return None
    found = re.search(r"\bUserError: (.+)", error.message)
    return UserError(found.group(1).strip()) if found else None


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Raises as a UserError what was one before TensorFlow took it."""
    try:
        yield
    except tf.errors.OpError as error:
        mistake = as_user_error(error)
        if mistake is None:
            raise
        raise mistake from error
