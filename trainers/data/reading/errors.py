"""Users' mistakes that surface inside a running data set."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from mm_models.errors import UserError


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Raises as a UserError what was one before TensorFlow took it, and what comes of records.

    TensorFlow turns exceptions of Python readers into its own and keeps only the text.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"\bUserError: (.+)", error.message)
        if found is not None:
            raise UserError(found.group(1).strip()) from error
        if isinstance(error, tf.errors.InvalidArgumentError | tf.errors.DataLossError):
            raise UserError(
                f"records that read whole make no batch: {error.message.splitlines()[0]}; look at "
                "them with `mmstack inspect`"
            ) from error
        raise
