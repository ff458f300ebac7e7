"""PaLI: tasks as text, written after images and a prompt."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from mm_models.backbones import vit_config
from mm_models.backbones.t5 import PAD_ID
from mm_models.config_tools import ResumeRules
from mm_models.losses.sequence import SequenceTerms, chunked_token_terms
from mm_models.losses.term import Term
from mm_models.pali import config as pali_config
from mm_models.pali.config import PaliConfig
from mm_models.pali.model import PaliModel
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.panels import Panel
from trainers.evaluation.pictures.question_panels import prompt_panels
from trainers.tasks.base import Task
from trainers.tasks.pali import checks as pali_checks
from trainers.tasks.shared.vocabulary_check import check_vocabulary
from trainers.tasks.terms import Batch, Gather, StepTerms


@dataclasses.dataclass
class PaliTaskConfig:
    """What PaLI learns; the tasks and their shares are those of the streams' prompted inputs.

    Attributes:
        name: `pali`.
        model: the vision transformer and the encoder-decoder.
        z_loss_weight: of the squared log of the normaliser of every target token.
        label_smoothing: share of every target token that is spread over the vocabulary.
        loss_chunks: stretches of the targets whose logits are computed one after the other, to
            save memory; must divide the streams' `num_target_tokens`.

    Source: PaLI, section 3; T5X for the weight.
    """

    resume = ResumeRules(allowed=("loss_chunks",))

    name: str = "pali"
    model: PaliConfig = dataclasses.field(default_factory=PaliConfig)
    z_loss_weight: float = 1e-4
    label_smoothing: float = 0.0
    loss_chunks: int = 1


class PaliTask(Task):
    """Cross-entropy of the target tokens, whatever the task that they come from.

    Attributes:
        config: with the model's sizes filled in.
    """

    config: PaliTaskConfig

    def __init__(self, config: PaliTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when streams and model do not fit together."""
        pali_checks.check(config, streams)
        resolved = dataclasses.replace(config, model=pali_config.resolve(config.model))
        super().__init__(resolved, streams)

    def build_model(self) -> PaliModel:
        """The model with every weight created."""
        num_rows, field = self.config.model.language.vocabulary_size, "task.model.language"
        for name, stream in self.streams.items():
            check_vocabulary(name, stream.input.prompted, num_rows, f"{field}.vocabulary_size")
        return PaliModel(self.config.model)

    def encode(
        self, model: PaliModel, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> SequenceTerms:
        """Sums over the target tokens of every row; rows that lack their image count nothing."""
        memory = model.encode(batch, training=training, seed=seed)
        hidden = model.hidden(batch, memory, training=training, seed=seed)
        present = batch["example_mask"]
        if "video" in batch:
            present *= batch["video_mask"]
        mask = tf.cast(batch["targets"] != PAD_ID, tf.float32) * present[:, tf.newaxis]
        return chunked_token_terms(
            hidden,
            model.language.logits,
            batch["targets"],
            mask,
            num_chunks=self.config.loss_chunks,
            z_loss_weight=self.config.z_loss_weight,
            label_smoothing=self.config.label_smoothing,
        )

    def terms(
        self,
        model: PaliModel,
        outputs: SequenceTerms,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """The mean over target tokens; metrics `token_accuracy`, `z_loss`, and of every task of the
        stream `<task>_loss` and `<task>_token_accuracy`."""
        metrics = {
            "token_accuracy": _ratio(outputs.hits, outputs.weight),
            "z_loss": _ratio(outputs.z_loss, outputs.weight),
        }
        for index, task in enumerate(self.streams[stream].input.prompted.tasks):
            mine = tf.cast(batch["task"] == index, tf.float32)
            metrics[f"{task}_loss"] = _ratio(outputs.loss * mine, outputs.weight * mine)
            metrics[f"{task}_token_accuracy"] = _ratio(outputs.hits * mine, outputs.weight * mine)
        return StepTerms(_ratio(outputs.loss, outputs.weight), metrics)

    def stack_depths(self) -> dict[str, int]:
        """Of the vision transformer, the encoder and the decoder."""
        model = self.config.model
        return {
            "vision.depth": model.vision.depth,
            "language.num_encoder_layers": model.language.num_encoder_layers,
            "language.num_decoder_layers": model.language.num_decoder_layers,
        }

    def tokens_per_example(self, stream: str) -> int:
        inputs = self.streams[stream].input
        num_text = inputs.prompted.num_input_tokens + inputs.prompted.num_target_tokens
        if inputs.video is None:
            return num_text
        vision = self.config.model.vision
        rows, columns = vit_config.grid_of(vision, inputs.video.height, inputs.video.width)
        return num_text + inputs.video.num_frames * rows * columns

    def summaries(self, model: PaliModel, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: images with prompt, target and what the model writes."""
        return prompt_panels(model, batch, self.streams[stream].input)


def _ratio(sums: tf.Tensor, weights: tf.Tensor) -> Term:
    return Term(tf.reduce_sum(sums), tf.reduce_sum(weights))
