"""Random training captions for labels, as a function of a seed."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers import randomness
from mm_models.text import label_prompts


class PromptDraw(NamedTuple):
    """Which words a caption is made of; fill them in by `caption`.

    Attributes:
        template: int32[batch] into TRAIN_TEMPLATES of the kind.
        instance: int32[batch] into INSTANCE_WORDS of the kind.
        quantifier: int32[batch] into QUANTIFIERS.
    """

    template: tf.Tensor
    instance: tf.Tensor
    quantifier: tf.Tensor


def draw_ids(num_choices: int, seed: tf.Tensor, batch) -> tf.Tensor:
    """int32[batch], each of `num_choices` equally probable, a pure function of `seed: int32[2]`."""
    return tf.cast(randomness.uniform([batch], seed) * num_choices, tf.int32)


def draw(kind: str, seed: tf.Tensor, batch) -> PromptDraw:
    """Template, instance word and quantifier for every row of a batch.

    Args:
        kind: `image`, `video` or `audio`.
        seed: int32[2].
        batch: rows.

    Source: the released IMP code.
    """
    choices = {
        "template": len(label_prompts.TRAIN_TEMPLATES[kind]),
        "instance": len(label_prompts.INSTANCE_WORDS[kind]),
        "quantifier": len(label_prompts.QUANTIFIERS),
    }
    return PromptDraw(
        **{
            name: draw_ids(number, randomness.fold_in(seed, f"prompt/{name}"), batch)
            for name, number in choices.items()
        }
    )


def caption(kind: str, class_name: str, template: int, instance: int, quantifier: int) -> str:
    """The caption of one row of a draw."""
    return label_prompts.fill(
        label_prompts.TRAIN_TEMPLATES[kind][template],
        class_name,
        label_prompts.INSTANCE_WORDS[kind][instance],
        label_prompts.QUANTIFIERS[quantifier],
    )
