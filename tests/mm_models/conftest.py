"""Starts TensorFlow with four logical CPU devices for this room's tests."""

import tests.tensorflow_setup  # noqa: F401
