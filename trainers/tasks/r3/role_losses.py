"""What the dictionaries of relations cost, and how they are used."""

from collections.abc import Mapping

import tensorflow as tf

from mm_models.layers.quantization.vector_quantizer import VectorQuantizer
from mm_models.layers.roles.role_outputs import RoleReport
from mm_models.losses.term import Term

RARE_SHARE = 0.1


def role_loss(
    reports: Mapping[str, RoleReport], masks: Mapping[str, tf.Tensor], commitment_weight: float
) -> tf.Tensor:
    """The errors of all dictionaries: of each the mean over tokens and heads, added up.

    Args:
        reports: by the attention's name; `RoleReport` of float32[batch, heads, queries].
        masks: float32[batch, queries] of the tokens that count, by the same names.
        commitment_weight: of the error that moves the vectors.

    Returns:
        float32[batch].

    Source: R3, section 3 (the dictionary's loss).
    """
    total = []
    for name, report in reports.items():
        errors = report.codebook_error + commitment_weight * report.commitment_error
        # [batch, heads, queries] -> [batch, queries]
        errors = tf.reduce_mean(errors, axis=1)
        counted = tf.reduce_sum(masks[name], axis=1)
        total.append(tf.math.divide_no_nan(tf.reduce_sum(errors * masks[name], axis=1), counted))
    return tf.add_n(total)


def code_metrics(dictionaries: Mapping[str, VectorQuantizer]) -> dict[str, Term]:
    """`code_perplexity`, the mean over the dictionaries of how many codes are in use as if all were
    used alike, and `rare_codes`, the share of codes used by less than a tenth of an even share."""
    if not dictionaries:
        return {}
    perplexities, rare = [], []
    for one in dictionaries.values():
        usage = tf.convert_to_tensor(one.usage.value)
        perplexities.append(one.perplexity())
        rare.append(tf.reduce_mean(tf.cast(is_rare(usage), tf.float32)))
    count = float(len(dictionaries))
    return {
        "code_perplexity": Term(tf.add_n(perplexities), tf.constant(count)),
        "rare_codes": Term(tf.add_n(rare), tf.constant(count)),
    }


def is_rare(usage):
    """bool[codes]: which codes have less than a tenth of an even share.

    Args:
        usage: float[codes] share of each code, a tensor or an array.
    """
    return usage < RARE_SHARE / usage.shape[0]
