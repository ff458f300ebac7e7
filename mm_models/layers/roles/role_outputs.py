"""What roles come to, and what there is to learn and to see of them."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers.quantization.vector_quantizer import CodeUse, Quantized


class RoleReport(NamedTuple):
    """What a layer's codes cost, and how they are used.

    Attributes:
        codebook_error, commitment_error: float32[batch, heads, queries], see `Quantized`; of pairs,
            the mean over those that may be seen.
        use: of the codes, in training; None otherwise.
    """

    codebook_error: tf.Tensor
    commitment_error: tf.Tensor
    use: CodeUse | None


class RoleTrace(NamedTuple):
    """Which roles were taken, and from what.

    Attributes:
        ids: int32[batch, heads, queries] of the codes; of pairs int32[batch, heads, queries, keys].
        scores: float32 of the same shape, how well the codes fit.
        weights: float32[batch, heads, queries, keys] what the code was chosen from.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    weights: tf.Tensor


class Roles(NamedTuple):
    """The roles of some tokens.

    Attributes:
        values: float[batch, heads, queries, head_dim] by which attention's output is multiplied.
        report, trace: of codes; None for a kind without.
    """

    values: tf.Tensor
    report: RoleReport | None = None
    trace: RoleTrace | None = None


def report_of(quantized: Quantized) -> RoleReport:
    """What codes of single tokens cost."""
    return RoleReport(quantized.codebook_error, quantized.commitment_error, quantized.use)
