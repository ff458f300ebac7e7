"""Batch normalisation over the batch of all replicas."""

import keras
import tensorflow as tf

from mm_models.layers.replicas import sum_over_replicas
from mm_models.layers.saved_layer import SavedLayer


def global_moments(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of each column over the rows of all replicas.

    The variance is that of the centred rows. The mean of squares minus the squared mean, which
    Keras uses across replicas, loses what matters here: rows of a young model hardly differ.

    Args:
        inputs: float32[rows, dim].

    Returns:
        float32[dim], float32[dim].
    """
    rows = tf.cast(tf.shape(inputs)[:1], inputs.dtype)
    sums = sum_over_replicas(tf.concat([tf.reduce_sum(inputs, axis=0), rows], axis=0))
    count = sums[-1]
    mean = sums[:-1] / count
    squares = tf.reduce_sum(tf.square(inputs - mean), axis=0)
    return mean, sum_over_replicas(squares) / count


@keras.saving.register_keras_serializable("mmstack")
class SyncBatchNorm(SavedLayer):
    """Normalises each feature by the statistics of the global batch, then scales and shifts.

    Works alone, under a strategy and inside a compiled step of one device. The arithmetic is
    float32 whatever the compute type.

    Args:
        momentum: share of the moving statistics that a training step keeps.
        epsilon: added to the variance.

    Call arguments:
        inputs: float[..., dim].
        training: bool; statistics of the batch in training, moving ones otherwise.

    Source: VATT, section 3.4; its reference code for momentum and epsilon.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)

        def weight(name, initializer, trainable=True):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, trainable=trainable, autocast=False
            )

        self.gamma = weight("gamma", "ones")
        self.beta = weight("beta", "zeros")
        self.moving_mean = weight("moving_mean", "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", "ones", trainable=False)
        self.built = True

    def call(self, inputs, training=False):
        dim = inputs.shape[-1]
        rows = tf.reshape(tf.cast(inputs, tf.float32), [-1, dim])
        if training:
            mean, variance = global_moments(rows)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma.value
        outputs = (rows - mean) * scale + self.beta.value
        return tf.reshape(tf.cast(outputs, self.compute_dtype), tf.shape(inputs))

    def _move(self, variable, value):
        moved = variable.value * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum)
        variable.assign(moved)
