"""Retrieval by how probable a model that writes finds each caption for each picture."""

import dataclasses
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.checks import check_choice
from mm_models.contracts import Scores
from mm_models.errors import UserError
from mm_models.metrics import retrieval
from trainers.data.config import InputConfig
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches, decoder_inputs
from trainers.evaluation.pictures import matrices, panels
from trainers.evaluation.places.retrieval import KS, retrieval_chance, retrieval_names
from trainers.evaluation.writing import text_probabilities
from trainers.evaluation.writing.asked_examples import require_prompts, usable_rows
from trainers.tasks.base import Task

PAIRS = ("text_to_video", "video_to_text")
# What pairs may be ranked by, and what a number is then.
LIKELIHOODS = {
    "sum": "log probability of a caption for a picture",
    "per_token": "log probability of a caption for a picture, by token",
    "gain": "what a picture adds to a caption's log probability",
}
MATRIX_EXAMPLES = 32


@dataclasses.dataclass
class LikelihoodRetrievalConfig(EvaluatorConfig):
    """Fields of `likelihood_retrieval`.

    Attributes:
        input: test examples; its prompted part, of a single task, is what is asked.
        pairs: `text_to_video`, `video_to_text` or both.
        gallery_size: the first so many examples; 0 takes all.
        likelihood: the log probability of a caption (`sum`), that by its tokens (`per_token`), or
            what the picture adds to it (`gain`).
        num_pictures: 0 writes no picture of the log probabilities.
    """

    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    pairs: list[str] = dataclasses.field(default_factory=lambda: ["text_to_video"])
    gallery_size: int = 0
    likelihood: str = "sum"
    num_pictures: int = 4


class LikelihoodRetrievalEvaluator(Evaluator):
    """R@1, R@5, R@10 and median rank by log p(caption | picture, prompt).

    The gallery is the first `gallery_size` examples of the input that have a picture and a target
    text; a picture's own text is its target. With `likelihood: gain`, a caption's log of its mean
    probability over the gallery's pictures is subtracted, so that captions probable for any picture
    do not win. Only a query's own partner counts and ties are misses.
    """

    config_class = LikelihoodRetrievalConfig
    config: LikelihoodRetrievalConfig
    model_ability = Scores

    def __init__(self, name: str, config: LikelihoodRetrievalConfig, task: Task):
        """Raises UserError without prompts or video, and for unknown pairs or likelihoods."""
        super().__init__(name, config, task)
        require_prompts(name, config.input)
        check_choice(config.likelihood, LIKELIHOODS, f"evaluators.{name}.likelihood")
        for pair in config.pairs:
            check_choice(pair, PAIRS, f"evaluators.{name}.pairs")
        if config.input.video is None or not config.pairs:
            raise UserError(
                f"evaluators.{name} compares pictures with texts: give its input a video part (one "
                "frame for stills) and its pairs at least one direction"
            )
        self._score = CompiledFunction(text_probabilities.score_texts)

    def metric_names(self) -> set[str]:
        return retrieval_names(self.config.pairs)

    def chance(self) -> dict[str, float]:
        return retrieval_chance(self.config.pairs, self.config.gallery_size)

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        """Raises UserError where no example has both a picture and a text."""
        targets = self._gallery_texts()
        log_p = self._log_probabilities(model, targets, context)
        similarities = adjusted(log_p, (targets > 0).sum(axis=1), self.config.likelihood)
        named = {"gallery": float(len(targets))}
        for pair in self.config.pairs:
            of_queries = similarities.T if pair == "text_to_video" else similarities
            scores = retrieval.retrieval_scores(of_queries, np.arange(len(targets)), ks=KS)
            named |= {f"{pair}_{key}": value for key, value in scores.items()}
        if self.config.num_pictures > 0:
            self.write([_matrix(similarities, self.config.likelihood)], context)
        return to_floats(named)

    def _gallery_texts(self) -> np.ndarray:
        """int32[gallery, tokens] target of each example, without the padding that all share."""
        found = []
        for batch, usable in self._batches():
            found.append(batch["targets"].numpy()[usable])
            if 0 < self.config.gallery_size <= sum(map(len, found)):
                break
        targets = np.concatenate(found)[: self.config.gallery_size or None]
        if not len(targets):
            raise UserError(
                f"evaluators.{self.name}.input has no example with a picture and a text; choose "
                "another split, task or language"
            )
        return targets[:, : int((targets > 0).sum(axis=1).max())]

    def _log_probabilities(
        self, model: keras.Model, targets: np.ndarray, context: EvaluationContext
    ) -> np.ndarray:
        """float64[pictures, captions] of the gallery."""
        rows = []
        for batch, usable in self._batches():
            inputs = decoder_inputs(batch) | {text_probabilities.LABELS: tf.constant(targets)}
            rows.append(self._score(model, inputs, context).numpy()[usable])
            if sum(map(len, rows)) >= len(targets):
                break
        return np.concatenate(rows)[: len(targets)].astype(np.float64)

    def _batches(self) -> Iterator[tuple[Mapping[str, tf.Tensor], np.ndarray]]:
        """Each batch, and bool[batch] which of its rows may be in the gallery."""
        for batch in batches(self.config.input):
            yield batch, usable_rows(batch) & (batch["targets"].numpy()[:, 0] > 0)


def adjusted(log_p: np.ndarray, lengths: np.ndarray, likelihood: str) -> np.ndarray:
    """float64[pictures, captions] what pairs are ranked by.

    Args:
        log_p: float64[pictures, captions] sums of log p over a caption's tokens.
        lengths: int[captions] tokens, ends included.
        likelihood: `sum` for these sums, `per_token` for their means, `gain` for what a picture
            adds to a caption's mean probability over all pictures.
    """
    if likelihood == "per_token":
        return log_p / lengths
    if likelihood == "gain":
        return log_p - (text_probabilities.log_sum_exp(log_p, axis=0) - np.log(len(log_p)))
    return log_p


def _matrix(similarities: np.ndarray, likelihood: str) -> panels.ImagePanel:
    corner = similarities[:MATRIX_EXAMPLES, :MATRIX_EXAMPLES]
    image = matrices.matrix_image(
        corner,
        matrices.Axis("picture"),
        matrices.Axis("caption"),
        meaning=LIKELIHOODS[likelihood],
        low=float(corner.min()),
        high=float(corner.max()),
    )
    return panels.ImagePanel("log_probabilities", image)
