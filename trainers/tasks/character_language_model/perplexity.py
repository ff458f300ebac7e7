"""Perplexity of held-out captions, beside that of words that nothing is known about."""

from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf

from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.text.tokenizers import word_indices
from trainers.evaluation.base import Evaluator
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches
from trainers.tasks.base import Task
from trainers.tasks.character_language_model import checks
from trainers.tasks.character_language_model.task import directed_targets

_DIRECTIONS = ("forward", "backward")


class PerplexityEvaluator(Evaluator):
    """exp of the mean cross-entropy of words, the end of a caption and its begin among them.

    `perplexity` is over both directions, `forward_perplexity` and `backward_perplexity` over one.
    `unigram_perplexity` is what the best distribution that knows no context comes to on the same
    words: that of their own counts. Words that the vocabulary lacks count as one word; `unknown`
    is their share.
    """

    config_class = ExamplesConfig
    config: ExamplesConfig
    model_ability = CharacterLanguageModel

    def __init__(self, name: str, config: ExamplesConfig, task: Task):
        super().__init__(name, config, task)
        field = f"evaluators.{name}"
        checks.check_input(field, config.input, task.config)
        checks.check_vocabulary(field, config.input, task.config.model.vocabulary_size)
        self._part = config.input.parts["characters"]
        self._stream = next(iter(task.streams))
        self._step = CompiledFunction(self._sums)

    def evaluate(self, model, context: EvaluationContext) -> dict[str, float]:
        size = model.config.vocabulary_size
        sums, counts = np.zeros([2, 2]), np.zeros([2, size])
        for batch in batches(self.config.input, self.config.max_examples):
            found = self._step(model, batch, context)
            sums += np.asarray(found["sums"], np.float64)
            counts += np.asarray(found["counts"], np.float64)
        losses = dict(zip(_DIRECTIONS, sums[:, 0] / sums[:, 1], strict=True))
        scores = {f"{name}_perplexity": float(np.exp(loss)) for name, loss in losses.items()}
        scores["perplexity"] = float(np.exp(sums[:, 0].sum() / sums[:, 1].sum()))
        scores["unigram_perplexity"] = float(np.exp(_entropy(counts)))
        unknown = word_indices(self._part.vocabulary)["<unk>"]
        return scores | {"unknown": float(counts[0, unknown] / counts[0].sum())}

    def metric_names(self) -> Collection[str]:
        return {"perplexity", "unigram_perplexity", "unknown"} | {
            f"{name}_perplexity" for name in _DIRECTIONS
        }

    def _sums(self, model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Cross-entropy and number of words of each direction, and how often each word came."""
        terms = self.task.held_out_terms(model, batch, self._stream)
        named = [terms.metrics[f"{name}_loss"] for name in _DIRECTIONS]
        return {
            "sums": tf.stack([tf.stack([term.sum, term.weight]) for term in named]),
            "counts": tf.stack(
                [
                    tf.math.unsorted_segment_sum(
                        tf.reshape(mask, [-1]),
                        tf.reshape(words, [-1]),
                        model.config.vocabulary_size,
                    )
                    for words, mask in directed_targets(batch)
                ]
            ),
        }


def _entropy(counts: np.ndarray) -> float:
    """Nats of a word, of `counts: float[directions, vocabulary]`, a distribution for each."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(counts * logs).sum() / counts.sum())
