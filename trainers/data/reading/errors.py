"""Users' mistakes that surface inside a running data set."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from mm_models.errors import UserError


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Raises as a UserError what was one before TensorFlow took it.

    TensorFlow turns exceptions of Python readers into its own and keeps only the text.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"\bUserError: (.+)", error.message)
        if found is None:
            raise
        raise UserError(found.group(1).strip()) from error
