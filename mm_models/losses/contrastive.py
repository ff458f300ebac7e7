"""Noise-contrastive losses between two modalities, with negatives from every replica."""

import math
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
    """The instances of one modality.

    Attributes:
        vectors: float32[batch, instances, dim], unit length.
        mask: float32[batch, instances] 1 for those that count.
    """

    vectors: tf.Tensor
    mask: tf.Tensor


def _identity(values: tf.Tensor) -> tf.Tensor:
    return values


def _hide(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return scores + (1.0 - mask) * MASKED_SCORE


def _log_sum_exp(*scores: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(tf.concat(scores, axis=1), axis=1)


def _own_scores(first: _Side, second: _Side, temperature) -> tf.Tensor:
    """float32[batch, instances * instances']: each row's firsts against its seconds."""
    scores = tf.einsum("bmd,bnd->bmn", first.vectors, second.vectors) / temperature
    scores = _hide(scores, first.mask[:, :, None] * second.mask[:, None, :])
    return tf.reshape(scores, [tf.shape(scores)[0], -1])


def _all_scores(local: _Side, everyone: _Side, temperature) -> tf.Tensor:
    """float32[batch, instances * all instances]: each row's instances against everybody's."""
    dim = local.vectors.shape[-1]
    everything = tf.reshape(everyone.vectors, [-1, dim])
    scores = tf.einsum("bmd,ad->bma", local.vectors, everything) / temperature
    served = tf.reshape(everyone.mask, [1, 1, -1])
    scores = _hide(scores, local.mask[:, :, None] * served)
    return tf.reshape(scores, [tf.shape(scores)[0], -1])


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
    # The row's own anchor counts for the row even where it serves nobody else.
    own_anchor, own = _Side(anchors[:, None], rows[:, None]), _Side(candidates, each)
    everyone = gather(anchors), gather(candidates), gather(negatives), gather(shared)
    all_anchors = _Side(everyone[0][:, None], everyone[2][:, None])
    all_candidates = _Side(everyone[1], everyone[3])
    positive = _log_sum_exp(_own_scores(own_anchor, own, temperature))
    to_candidates = _all_scores(own_anchor, all_candidates, temperature)
    to_anchors = _all_scores(own, all_anchors, temperature)
    if symmetric:
        losses = _log_sum_exp(to_candidates) + _log_sum_exp(to_anchors) - 2.0 * positive
    else:
        # Relative to the positives before exponentiating: a small loss keeps its digits.
        relative = (to_candidates - positive[:, None], to_anchors - positive[:, None])
        losses = _log_sum_exp(*relative)
        if denominator == "positives_once":
            losses = _take_one_away(losses, valid * negatives)
    return _reduce(losses, valid, gather(valid))


def pair_nce_loss(
    first: tf.Tensor,
    second: tf.Tensor,
    *,
    first_mask: tf.Tensor | None = None,
    second_mask: tf.Tensor | None = None,
    temperature: float | tf.Tensor = 0.07,
    margin: float = 0.0,
    gather: Callable[[tf.Tensor], tf.Tensor] = _identity,
) -> LossTerm:
    """NCE between two modalities with any number of instances each, the same for both directions.

    Of row i the positives are all its pairs of instances; the first direction sets them against the
    pairs of its firsts with everybody's seconds, the second one those of its seconds with
    everybody's firsts. Each is log-sum-exp over the set minus log-sum-exp over the positives, and
    the loss is their mean. A row without an instance on one side yields no loss, and what it has on
    the other serves as negatives; masked instances serve nobody. The loss is the mean over the
    valid rows of the global batch, and 0 where none is valid.

    Args:
        first: float[batch, instances, dim] or float[batch, dim], any length of vector.
        second: float[batch, instances', dim] or float[batch, dim].
        first_mask: [batch, instances] or [batch] 1 where the instance exists; None: all.
        second_mask: the same for `second`.
        temperature: scores are divided by it.
        margin: taken off the scores of a row's own pairs, which then have to be nearer by so much.
        gather: differentiable all-gather over the batch axis; identity on one device.

    Returns:
        LossTerm(sum float32[], weight float32[], rows float32[batch]).

    Source: IMP; MIL-NCE.
    """
    own = [_existing(first, first_mask), _existing(second, second_mask)]
    everyone = [_Side(gather(side.vectors), gather(side.mask)) for side in own]
    valid = tf.reduce_max(own[0].mask, axis=1) * tf.reduce_max(own[1].mask, axis=1)
    positive = _log_sum_exp(_own_scores(own[0], own[1], temperature))
    losses = tf.zeros_like(positive)
    for local, others in ((own[0], everyone[1]), (own[1], everyone[0])):
        ratios = _log_sum_exp(_all_scores(local, others, temperature)) - positive
        losses += 0.5 * _with_margin(ratios, valid, margin)
    return _reduce(losses, valid, gather(valid))


def _existing(vectors: tf.Tensor, mask: tf.Tensor | None) -> _Side:
    """Unit vectors float32[batch, instances, dim] and their mask, which may lack the second axis.

    The length is bounded from below before the division, so that zeros (a caption without words)
    stay zeros and get a gradient that is a number.
    """
    vectors = tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)
    if vectors.shape.rank == 2:
        vectors = vectors[:, None]
    exists = tf.ones_like(vectors[:, :, 0])
    if mask is not None:
        mask = tf.cast(mask, tf.float32)
        exists *= mask if mask.shape.rank == 2 else mask[:, None]
    return _Side(vectors, exists)


def _with_margin(log_ratios: tf.Tensor, valid: tf.Tensor, margin: float) -> tf.Tensor:
    """Log of set over positives, as if every positive in both scored lower by `margin`.

    With x the ratio without a margin: log((exp(x) - 1 + exp(-m)) / exp(-m)).
    """
    if not margin:
        return log_ratios
    # Two wheres: a row without positives would else send a gradient that is no number.
    safe = tf.where(valid > 0.0, log_ratios, tf.ones_like(log_ratios))
    return safe + margin + tf.math.log1p(math.expm1(-margin) * tf.exp(-safe))


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
