"""Labels as captions: a table of sentences for every class, and a draw from it."""

import numpy as np
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.text import label_prompts
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.parts.text.config import TextInputConfig
from trainers.tasks.imp.objectives import ImpObjectiveConfig


class LabelPrompts:
    """Sentences about the classes of an objective, tokenised once.

    Attributes:
        table: int32[classes, prompts, num_tokens], 0 is padding.
        num_prompts: sentences drawn per example.

    Source: the released IMP code (classification as contrastive learning).
    """

    def __init__(self, objective: ImpObjectiveConfig, text: TextInputConfig):
        """Raises UserError when the vocabulary cannot be read."""
        tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)
        sentences = [
            label_prompts.train_prompts(
                objective.label_prompts, name, objective.fillings_per_template
            )
            for name in objective.class_names
        ]
        self.table: np.ndarray = tokenizer.tokenize(tf.constant(sentences), text.num_tokens).numpy()
        self.num_prompts = objective.num_prompts

    def draw(self, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Random sentences about random ones of each row's labels.

        Args:
            labels: int32[batch, labels], padded with -1.
            seed: int32[2].

        Returns:
            int32[batch, num_prompts, num_tokens], and float32[batch, num_prompts] 1 where the row
            has a label.
        """
        batch, width = labels.shape
        known = (labels >= 0) & (labels < len(self.table))
        # The label of the highest draw: uniform among those that there are.
        scores = randomness.uniform(
            [batch, self.num_prompts, width], randomness.fold_in(seed, Purpose.CLASS_OF_CAPTION)
        )
        scores = tf.where(known[:, tf.newaxis], scores, -tf.ones_like(scores))
        chosen = tf.argmax(scores, axis=-1, output_type=tf.int32)
        classes = tf.maximum(tf.gather(labels, chosen, batch_dims=1), 0)
        numbers = randomness.choices(
            self.table.shape[1],
            randomness.fold_in(seed, Purpose.SENTENCE_OF_CLASS),
            batch * self.num_prompts,
        )
        rows = tf.reshape(classes, [-1]) * self.table.shape[1] + numbers
        flat = tf.constant(self.table.reshape([-1, self.table.shape[2]]))
        tokens = tf.reshape(tf.gather(flat, rows), [batch, self.num_prompts, -1])
        has_label = tf.cast(tf.reduce_any(known, axis=1), tf.float32)
        mask = tf.repeat(has_label[:, tf.newaxis], self.num_prompts, axis=1)
        return tokens * tf.cast(mask, tf.int32)[:, :, tf.newaxis], mask
