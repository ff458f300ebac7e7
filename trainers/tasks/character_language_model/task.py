"""What a character language model learns: the next word of captions, and the previous one."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from mm_models.character_language_model import config as model_config
from mm_models.character_language_model.config import CharacterLanguageModelConfig
from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.config_tools import ResumeRules
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.losses.sampled_softmax import draw_candidates, sampled_cross_entropy
from mm_models.losses.sequence import chunked_token_terms
from mm_models.losses.term import Term
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.character_language_model import checks
from trainers.tasks.character_language_model.word_panels import word_panels
from trainers.tasks.terms import Batch, Gather, StepTerms


@dataclasses.dataclass
class CharacterLanguageModelTaskConfig:
    """Cross-entropy of the next and of the previous word.

    Attributes:
        name: `character_language_model`.
        model: its sizes.
        num_sampled_words: words that stand for the vocabulary in a training step, another sample in
            every step, the same for all rows of a replica; 0 takes all words. Evaluation always
            takes all.
        loss_chunks: stretches of the rows of words whose logits are computed one after the other,
            to save memory, where all words are taken.

    Source: ELMo, section 3.1.
    """

    resume = ResumeRules(allowed=("loss_chunks",))

    name: str = "character_language_model"
    model: CharacterLanguageModelConfig = dataclasses.field(
        default_factory=CharacterLanguageModelConfig
    )
    num_sampled_words: int = 0
    loss_chunks: int = 1


class DirectedTargets(NamedTuple):
    """What one direction has to say.

    Attributes:
        words: int32[batch, rows] ids, behind each row or in front of it.
        mask: float32[batch, rows], 1 where there is such a word.
    """

    words: tf.Tensor
    mask: tf.Tensor


class CharacterLanguageModelTask(Task):
    """Both directions count alike, and every word of every caption.

    Attributes:
        config: with what the size says filled in.
    """

    config: CharacterLanguageModelTaskConfig

    def __init__(
        self, config: CharacterLanguageModelTaskConfig, streams: Mapping[str, StreamConfig]
    ):
        """Raises UserError when streams and model do not fit together."""
        config = dataclasses.replace(config, model=model_config.resolve(config.model))
        checks.check(config, streams)
        super().__init__(config, streams)

    def build_model(self) -> CharacterLanguageModel:
        """The model with every weight created."""
        for name, stream in self.streams.items():
            checks.check_vocabulary(
                f"streams.{name}", stream.input, self.config.model.vocabulary_size
            )
        return CharacterLanguageModel(self.config.model)

    def encode(
        self,
        model: CharacterLanguageModel,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        seed: tf.Tensor,
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """float32[batch] cross-entropy of each row and number of words, for each direction."""
        layers = model.read(batch["characters"], training=training, seed=seed)
        directions = model.hidden(layers, training=training, seed=seed)
        targets = directed_targets(batch)
        sampled = training and self.config.num_sampled_words > 0
        losses = self._sampled if sampled else self._full
        return losses(model, directions, targets, seed)

    def _full(self, model, directions, targets, seed) -> list[tuple[tf.Tensor, tf.Tensor]]:
        found = []
        for hidden, (words, mask) in zip(directions, targets, strict=True):
            terms = chunked_token_terms(
                hidden, model.logits, words, mask, num_chunks=self.config.loss_chunks
            )
            found.append((terms.loss, terms.weight))
        return found

    def _sampled(self, model, directions, targets, seed) -> list[tuple[tf.Tensor, tf.Tensor]]:
        candidates = draw_candidates(
            self.config.model.vocabulary_size,
            self.config.num_sampled_words,
            randomness.fold_in(seed, Purpose.SAMPLED_WORDS),
        )
        kernel, bias = (
            tf.convert_to_tensor(weight.value)
            for weight in (model.softmax.kernel, model.softmax.bias)
        )
        found = []
        for hidden, (words, mask) in zip(directions, targets, strict=True):
            each = sampled_cross_entropy(hidden, kernel, bias, words, candidates)
            found.append((tf.reduce_sum(each * mask, axis=1), tf.reduce_sum(mask, axis=1)))
        return found

    def terms(
        self,
        model: CharacterLanguageModel,
        outputs: list[tuple[tf.Tensor, tf.Tensor]],
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """The mean over both directions; metrics `forward_loss` and `backward_loss`."""
        metrics = {
            f"{name}_loss": Term(*map(tf.reduce_sum, pair))
            for name, pair in zip(("forward", "backward"), outputs, strict=True)
        }
        total, weight = (sum(values) for values in zip(*metrics.values(), strict=True))
        return StepTerms(Term(total, weight), metrics)

    def tokens_per_example(self, stream: str) -> int:
        return self.streams[stream].input.parts["characters"].num_words + 2

    def summaries(self, model: CharacterLanguageModel, batch: Batch, *, stream: str) -> list[Panel]:
        """How probable each word of the first captions was, in both directions."""
        return word_panels(model, batch)


def directed_targets(batch: Batch) -> tuple[DirectedTargets, DirectedTargets]:
    """The word behind each row, and the one in front of it.

    Args:
        batch: `characters`, `words`, `characters_mask`, `example_mask` of
            `characters_part.CharactersPart`.
    """
    rows = batch["example_mask"] * batch["characters_mask"]
    present = tf.cast(tf.reduce_any(batch["characters"] != 0, axis=-1), tf.float32)
    present *= rows[:, tf.newaxis]
    behind, before = [[0, 0], [0, 1]], [[0, 0], [1, 0]]
    words = batch["words"]
    ahead = DirectedTargets(tf.pad(words[:, 1:], behind), tf.pad(present[:, 1:], behind))
    back = DirectedTargets(tf.pad(words[:, :-1], before), tf.pad(present[:, 1:], before))
    return ahead, back
