"""Phrase grounding: sentences find their pictures, by words that find their regions."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from mm_models.backbones.levels.load_weights import load_weights
from mm_models.config_tools import ResumeRules
from mm_models.grounding import config as grounding_config
from mm_models.grounding.config import GroundingConfig, reference_grid
from mm_models.grounding.matching_loss import MatchingTerms, matching_terms
from mm_models.grounding.model import GroundingModel
from mm_models.losses.term import Term
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.grounding import checks as grounding_checks
from trainers.tasks.grounding.heat_panels import batch_panels
from trainers.tasks.shared.in_batch_accuracy import accuracy_of_scores
from trainers.tasks.terms import Batch, Gather, StepTerms

BRANCHES = ("word", "sentence")


@dataclasses.dataclass
class GroundingTaskConfig:
    """What is learned from pictures and sentences about them; boxes are never read in training.

    Attributes:
        name: `grounding`.
        model: common space and backbone.
        word_weight, sentence_weight: of the losses by words and by the sentence as a whole; 0
            leaves a branch out.
        word_sharpness: of the log-sum-exp that makes a sentence's score of its words'.
        score_scale: scores are multiplied by it before the softmax over the batch.
        kernel_decay: times the sum of the squares of the kernels that map the levels, which is
            added to the loss.
        images_per_chunk: pictures whose heats with all sentences are held at once; 0 holds all.

    Source: Akbari and others (CVPR 2019), section 3: gamma_1 is `word_sharpness`, gamma_2
    `score_scale`; 2.5e-4 is the released code's.
    """

    resume = ResumeRules(allowed=("images_per_chunk",))

    name: str = "grounding"
    model: GroundingConfig = dataclasses.field(default_factory=GroundingConfig)
    word_weight: float = 1.0
    sentence_weight: float = 1.0
    word_sharpness: float = 5.0
    score_scale: float = 10.0
    kernel_decay: float = 2.5e-4
    images_per_chunk: int = 0


class GroundingOutputs(NamedTuple):
    """What a replica's batch comes to.

    Attributes:
        words: float32[batch, words, dim].
        sentence: float32[batch, dim].
        regions: float32[batch, regions of all frames, levels, dim].
    """

    words: tf.Tensor
    sentence: tf.Tensor
    regions: tf.Tensor


class GroundingTask(Task):
    """Cross-entropy of which sentence belongs to which picture, by words and by sentences.

    Attributes:
        config: with what preset and size say filled in.
    """

    config: GroundingTaskConfig

    def __init__(self, config: GroundingTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when streams and model do not fit together."""
        model = grounding_config.resolve(config.model)
        config = dataclasses.replace(config, model=model)
        grounding_checks.check(config, streams)
        super().__init__(config, streams)

    def build_model(self) -> GroundingModel:
        """The model with every weight created."""
        return GroundingModel(self.config.model)

    def initialize(self, model: GroundingModel) -> list[str]:
        """The backbone's weights from Keras' file, where the config names one."""
        return load_weights(model.visual)

    def encode(
        self, model: GroundingModel, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> GroundingOutputs:
        """Both sides in the common space; the regions of all frames of a clip are one picture's."""
        regions = model.embed_images(batch["video"], training=training)
        text = model.embed_words(batch["phrase_layers"], batch["phrase_word_mask"])
        merged = tf.reshape(regions, [regions.shape[0], -1, *regions.shape[3:]])
        return GroundingOutputs(text.words, text.sentence, merged)

    def terms(
        self,
        model: GroundingModel,
        outputs: GroundingOutputs,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """Both matching losses and the decay of kernels; metrics `word_loss`, `word_accuracy` and
        those of sentences, `kernel_decay`."""
        has_words = tf.reduce_max(batch["phrase_word_mask"], axis=1)
        valid = batch["example_mask"] * batch["video_mask"] * batch["phrases_mask"] * has_words
        total, metrics = tf.zeros([]), {}
        for branch in BRANCHES:
            weight = getattr(self.config, f"{branch}_weight")
            if not weight:
                continue
            found = self._matching(branch, outputs, batch, valid, gather)
            total += weight * found.loss
            metrics[f"{branch}_loss"] = Term(found.loss, found.weight)
            metrics[f"{branch}_accuracy"] = accuracy_of_scores(
                tf.stop_gradient(found.own), tf.stop_gradient(found.scores), valid
            )
        count = tf.reduce_sum(valid)
        if self.config.kernel_decay:
            decay = self.config.kernel_decay * model.squared_kernels()
            total += decay * count
            metrics["kernel_decay"] = Term(decay, tf.ones([]))
        return StepTerms(Term(total, count), metrics)

    def _matching(
        self,
        branch: str,
        outputs: GroundingOutputs,
        batch: Batch,
        valid: tf.Tensor,
        gather: Gather,
    ) -> MatchingTerms:
        words, mask = outputs.words, batch["phrase_word_mask"]
        if branch == "sentence":
            words = outputs.sentence[:, tf.newaxis]
            mask = tf.ones_like(mask[:, :1])
        return matching_terms(
            words,
            mask,
            outputs.regions,
            valid,
            sharpness=self.config.word_sharpness,
            scale=self.config.score_scale,
            images_per_chunk=self.config.images_per_chunk,
            gather=gather,
        )

    def tokens_per_example(self, stream: str) -> int:
        inputs, model = self.streams[stream].input, self.config.model
        rows, columns = reference_grid(model)
        regions = rows * columns * len(model.visual.levels)
        return inputs.video.num_frames * regions + inputs.phrases.num_words

    def summaries(self, model: GroundingModel, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: heat of words and sentences over pictures."""
        return batch_panels(model, batch, self.streams[stream].input)
