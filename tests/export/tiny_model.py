"""A hand-made SavedModel with one signature of every kind the server must handle."""

import pathlib

import tensorflow as tf

from export.version import layout
from export.version.batching_parameters import BatchingParameters


class TinyModule(tf.Module):
    def __init__(self, offset):
        super().__init__()
        self.weights = tf.Variable([[1.0], [10.0], [100.0]])
        self.offset = tf.Variable(float(offset))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def affine(self, x):
        return {"y": (x @ self.weights)[:, 0] + self.offset}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="a"),
            tf.TensorSpec([None], tf.int32, name="b"),
        ]
    )
    def pair(self, a, b):
        return {"sum": tf.reduce_sum(a, 1) + tf.cast(b, tf.float32), "double": 2 * b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def jpeg(self, image_bytes):
        def mean(encoded):
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32))

        return {"mean": tf.map_fn(mean, image_bytes, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name="texts")])
    def texts(self, texts):
        return {"lengths": tf.strings.length(texts), "echo_bytes": texts, "echo": texts}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")])
    def pixels(self, pixels):
        return {"mean": tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="value")])
    def scalar(self, value):
        return {"square": value * value}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float16, name="half"),
            tf.TensorSpec([None], tf.bfloat16, name="brain"),
            tf.TensorSpec([None], tf.uint64, name="wide"),
        ]
    )
    def numbers(self, half, brain, wide):
        return {"half": 2 * half, "brain": 2 * brain, "wide": wide}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.complex64, name="value")])
    def unserved(self, value):
        return {"real": tf.math.real(value)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def spin(self, steps):
        """Takes about a tenth of a millisecond a step."""
        matrix = tf.eye(128)
        for _ in tf.range(tf.reduce_max(steps)):
            matrix = tf.linalg.matmul(matrix, matrix)
        return {"trace": tf.linalg.trace(matrix) + 0.0 * tf.cast(steps, tf.float32)}


def write_tiny_model(base_path: pathlib.Path, version: int, offset: float, batching=True) -> None:
    """Writes `<base_path>/<version>` by rename."""
    module = TinyModule(offset)
    names = ["pair", "jpeg", "texts", "pixels", "scalar", "spin", "numbers", "unserved"]
    signatures = {name: getattr(module, name) for name in names}
    temporary = base_path / f"{layout.TEMPORARY_PREFIX}{version}"
    tf.saved_model.save(module, str(temporary), {"serving_default": module.affine, **signatures})
    if batching:
        parameters = BatchingParameters(max_batch_size=16, batch_timeout_micros=0)
        (temporary / layout.BATCHING_FILE).write_text(parameters.to_text())
    temporary.rename(base_path / str(version))
