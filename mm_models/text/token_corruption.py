"""Tokens that a decoder reads, some of them replaced, so that it also looks elsewhere."""

import dataclasses

import tensorflow as tf

from mm_models import checks
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.text.sentence_pieces import END_ID, PAD_ID

# Of the chosen tokens, the shares that become the mask and a random token; the rest stays.
MASKED, RANDOM = 0.8, 0.1


@dataclasses.dataclass
class TokenCorruption:
    """What is replaced in what a decoder reads.

    Attributes:
        share: of the tokens that are chosen; 0 for none.
        mask_id: the id of the mask; null takes the last row of the token table.
        start: the start token may be chosen too.
        any_id: random ids may be those of padding and end.

    Source: R3, causal masked language modelling; its released code chooses the start token and
    draws from all ids.
    """

    share: float = 0.2
    mask_id: int | None = None
    start: bool | None = None
    any_id: bool | None = None


def check_corruption(corruption: TokenCorruption, vocabulary_size: int, field: str) -> None:
    """Raises UserError for what cannot work (of a corruption without nulls)."""
    checks.check_share(corruption.share, f"{field}.share")
    checks.check_at_least(corruption.mask_id, END_ID + 1, f"{field}.mask_id")
    checks.check_at_most(corruption.mask_id, vocabulary_size - 1, f"{field}.mask_id")


def corrupt_tokens(
    ids: tf.Tensor, corruption: TokenCorruption, vocabulary_size: int, seed: tf.Tensor
) -> tf.Tensor:
    """What is read in the place of `ids`, drawn anew with every seed.

    Args:
        ids: int32[batch, tokens] from the start token on, padded with 0.
        corruption: without nulls.
        vocabulary_size: ids that there are.
        seed: int32[2].

    Returns:
        int32[batch, tokens].

    Source: R3; BERT for the shares.
    """
    shape = tf.shape(ids)
    seed = randomness.fold_in(seed, Purpose.TOKEN_CORRUPTION)

    def draw(number: int) -> tf.Tensor:
        return randomness.uniform(shape, randomness.fold_in(seed, number))

    is_start = tf.range(shape[1])[tf.newaxis] == 0
    may = (ids != PAD_ID) & ~is_start
    if corruption.start:
        may |= is_start
    lowest = 0 if corruption.any_id else END_ID + 1
    random = lowest + tf.cast(draw(1) * (vocabulary_size - lowest), tf.int32)
    how = draw(2)
    replaced = tf.where(how < MASKED, corruption.mask_id, ids)
    replaced = tf.where((how >= MASKED) & (how < MASKED + RANDOM), random, replaced)
    return tf.where(may & (draw(0) < corruption.share), replaced, ids)
