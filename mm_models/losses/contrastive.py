"""Noise-contrastive losses between two modalities, with negatives from every replica."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

MASKED_SCORE = -1e9
DENOMINATORS = ("positives_once", "positives_twice")


class LossTerm(NamedTuple):
    """A loss before reduction; over all replicas, sum(sum) / sum(weight) is the loss.

    Attributes:
        sum: float32[].
        weight: float32[], the local batch size, so that several terms of one batch simply add up.
        rows: float32[batch] each row's part of `sum`; 0 where the row is masked.
    """

    sum: tf.Tensor
    weight: tf.Tensor
    rows: tf.Tensor


class _Side(NamedTuple):
    anchors: tf.Tensor  # float32[batch, dim], unit length
    candidates: tf.Tensor  # float32[batch, candidates, dim], unit length
    anchor_mask: tf.Tensor  # float32[batch], anchors that serve as negatives
    candidate_mask: tf.Tensor  # float32[batch, candidates]


def _identity(values: tf.Tensor) -> tf.Tensor:
    return values


def _hide(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return scores + (1.0 - mask) * MASKED_SCORE


def _log_sum_exp(*scores: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(tf.concat(scores, axis=1), axis=1)


def _scores(local: _Side, everyone: _Side, temperature):
    """Scores of each local row's positives and of both directions.

    Returns:
        float32[batch, candidates], float32[batch, all * candidates] (own anchor, all candidates)
        and float32[batch, all * candidates] (own candidates, all anchors).
    """
    batch = tf.shape(local.anchors)[0]
    dim = local.anchors.shape[-1]
    positives = tf.einsum("bd,bcd->bc", local.anchors, local.candidates) / temperature
    flat_candidates = tf.reshape(everyone.candidates, [-1, dim])
    to_candidates = tf.matmul(local.anchors, flat_candidates, transpose_b=True) / temperature
    to_anchors = tf.einsum("bcd,ad->bca", local.candidates, everyone.anchors) / temperature
    hidden_pairs = local.candidate_mask[:, :, None] * everyone.anchor_mask[None, None, :]
    return (
        _hide(positives, local.candidate_mask),
        _hide(to_candidates, tf.reshape(everyone.candidate_mask, [1, -1])),
        tf.reshape(_hide(to_anchors, hidden_pairs), [batch, -1]),
    )


def nce_loss(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    *,
    anchor_mask: tf.Tensor | None = None,
    candidate_mask: tf.Tensor | None = None,
    negative_mask: tf.Tensor | None = None,
    temperature: float | tf.Tensor = 0.07,
    symmetric: bool = False,
    denominator: str = "positives_once",
    gather: Callable[[tf.Tensor], tf.Tensor] = _identity,
) -> LossTerm:
    """NCE, or MIL-NCE where a row has several candidates, on unit-length embeddings.

    Asymmetric (the default): the log-sum-exp over the row's anchor against all candidates together
    with the row's candidates against all anchors, minus that over the row's own pairs. Both halves
    of the set hold those; `denominator` says whether they count once, as the paper has it, so that
    the loss can reach 0, or twice, as in the reference code, where it cannot fall below ln 2.
    Symmetric: the two directions each against their own set, added.

    A row masked by `anchor_mask` yields no loss and its candidates serve nobody, but its anchor
    still serves as a negative of the others' candidates; `negative_mask` removes it there too. The
    loss is the mean over the valid rows of the global batch, and 0 where none is valid.

    Args:
        anchors: float[batch, dim] this replica's anchors (videos), any length of vector but 0.
        candidates: float[batch, candidates, dim] or float[batch, dim] their partners.
        anchor_mask: [batch] 1 where the pair of the row is valid, such as `text_mask`; None: all.
        candidate_mask: [batch, candidates] 1 where the candidate exists; None: all.
        negative_mask: [batch] 1 where the row's anchor exists, such as `video_mask`; None: all.
        temperature: scores are divided by it.
        symmetric: which of the two forms.
        denominator: one of DENOMINATORS; the symmetric form has every pair once in either case.
        gather: differentiable all-gather over the batch axis; identity on one device.

    Returns:
        LossTerm(sum float32[], weight float32[], rows float32[batch]).

    Source: VATT, section 3.4, equations 4 to 6; MIL-NCE.
    """
    anchors = tf.math.l2_normalize(tf.cast(anchors, tf.float32), axis=-1)
    candidates = tf.math.l2_normalize(tf.cast(candidates, tf.float32), axis=-1)
    if candidates.shape.rank == 2:
        candidates = candidates[:, None]
    rows = tf.ones_like(anchors[:, 0])
    valid = rows if anchor_mask is None else tf.cast(anchor_mask, tf.float32)
    negatives = rows if negative_mask is None else tf.cast(negative_mask, tf.float32)
    each = tf.ones_like(candidates[:, :, 0])
    each = each if candidate_mask is None else each * tf.cast(candidate_mask, tf.float32)
    valid *= tf.reduce_max(each, axis=1)
    shared = each * valid[:, None]
    local = _Side(anchors, candidates, negatives, each)
    everyone = _Side(gather(anchors), gather(candidates), gather(negatives), gather(shared))
    positives, to_candidates, to_anchors = _scores(local, everyone, temperature)
    positive = _log_sum_exp(positives)
    if symmetric:
        losses = _log_sum_exp(to_candidates) + _log_sum_exp(to_anchors) - 2.0 * positive
    else:
        # Relative to the positives before exponentiating: a small loss keeps its digits.
        relative = (to_candidates - positive[:, None], to_anchors - positive[:, None])
        losses = _log_sum_exp(*relative)
        if denominator == "positives_once":
            losses = _take_one_away(losses, valid * negatives)
    return _reduce(losses, valid, gather(valid))


def _take_one_away(log_ratios: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """log(exp(x) - 1) where `rows` is 1: the set without its second copy of the positives.

    Args:
        log_ratios: float32[batch] log of set over positives, at least ln 2 where the set holds the
            positives twice.
        rows: float32[batch] 1 where it does; a row whose anchor is no negative has them once.
    """
    holds_two = rows > 0.0
    # Two wheres: a masked row would else send a gradient that is no number through the first one.
    safe = tf.where(holds_two, log_ratios, tf.ones_like(log_ratios))
    return tf.where(holds_two, safe + tf.math.log1p(-tf.exp(-safe)), log_ratios)


def _reduce(losses: tf.Tensor, valid: tf.Tensor, everyone_valid: tf.Tensor) -> LossTerm:
    """Sums the valid rows, so scaled that division by the batch size gives their mean."""
    global_batch = tf.cast(tf.size(everyone_valid), tf.float32)
    scale = tf.math.divide_no_nan(global_batch, tf.reduce_sum(everyone_valid))
    # where, not a product: what a masked row computes must not reach the sum even if it overflows.
    kept = tf.where(valid > 0.0, losses * valid, tf.zeros_like(losses))
    rows = kept * scale
    return LossTerm(tf.reduce_sum(rows), tf.cast(tf.size(valid), tf.float32), rows)
