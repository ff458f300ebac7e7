"""Initial values of kernels, by the name of the code base that uses them."""

import keras


def kernel_initializer(initialization: str, role: str, head_dim: int = 1) -> keras.Initializer:
    """The initial values of a Dense kernel.

    Args:
        initialization: `glorot` (uniform, Keras' default, whatever the role) or `t5x`: variance
            1 / inputs, from a normal distribution in attention and a truncated one elsewhere; of
            queries it is divided by `head_dim`, which stands for the scaling that scores lack.
        role: `query`, `attention` or `feed_forward`.
        head_dim: width of an attention head.

    Raises:
        ValueError: unknown name.

    Source: T5X.
    """
    if initialization == "glorot":
        return keras.initializers.GlorotUniform()
    if initialization != "t5x":
        raise ValueError(f"initialization must be 'glorot' or 't5x', not {initialization!r}")
    return keras.initializers.VarianceScaling(
        scale=1.0 / head_dim if role == "query" else 1.0,
        mode="fan_in",
        distribution="truncated_normal" if role == "feed_forward" else "untruncated_normal",
    )
