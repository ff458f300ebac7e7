"""R3: captions written after what a video shows, with roles for what is attended to."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from mm_models import config_tools
from mm_models.backbones.t5 import shift_right
from mm_models.layers.quantization.vector_quantizer import CodeUse
from mm_models.losses.sequence import SequenceTerms, token_terms
from mm_models.losses.term import Term
from mm_models.r3 import config as r3_config
from mm_models.r3.config import R3Config
from mm_models.r3.model import R3Model, Seen, padding_mask
from mm_models.text.token_corruption import TokenCorruption, corrupt_tokens
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.r3 import checks as r3_checks
from trainers.tasks.r3.role_losses import code_metrics, role_loss
from trainers.tasks.r3.role_panels import batch_panels
from trainers.tasks.shared.vocabulary_check import check_vocabulary
from trainers.tasks.terms import Batch, Gather, StepTerms

# What the fields that are null take, by the model's preset.
PRESETS = {
    "fixed": {"loss_denominator": "per_token", "role_loss_over": "tokens"},
    "paper": {"loss_denominator": "per_position", "role_loss_over": "positions"},
    "reference_code": {"loss_denominator": "per_position", "role_loss_over": "positions"},
}


@dataclasses.dataclass
class R3TaskConfig:
    """What R3 learns: the next token of captions, of which some of those read are replaced.

    Attributes:
        name: `r3`.
        model: the encoder-decoder and its roles.
        corruption: of the tokens that the decoder reads in training.
        loss_denominator: the loss is a mean over target tokens (`per_token`), or over all places of
            the targets, padding included (`per_position`); null takes what the preset says.
        role_loss_weight: of the errors of the dictionaries, added up.
        role_loss_over: those errors are means over `tokens`, or over `positions`, padding included;
            null takes what the preset says.

    Source: R3, section 4 and its released code.
    """

    name: str = "r3"
    model: R3Config = dataclasses.field(default_factory=R3Config)
    corruption: TokenCorruption = dataclasses.field(default_factory=TokenCorruption)
    loss_denominator: str | None = None
    role_loss_weight: float = 0.25
    role_loss_over: str | None = None


class R3Outputs(NamedTuple):
    """What a replica's batch comes to.

    Attributes:
        sequence: sums over the target tokens of each row.
        num_places: float32[batch] what a row counts in the loss's denominator.
        present: float32[batch], 1 for rows with features.
        role_loss: float32[batch] of the dictionaries; zeros without.
        uses: of each dictionary, in training.
    """

    sequence: SequenceTerms
    num_places: tf.Tensor
    present: tf.Tensor
    role_loss: tf.Tensor
    uses: Mapping[str, CodeUse]


class R3Task(Task):
    """Cross-entropy of the caption's tokens, and the errors of the dictionaries of relations.

    Attributes:
        config: with what preset and size say filled in.
    """

    config: R3TaskConfig

    def __init__(self, config: R3TaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when streams and model do not fit together."""
        config = _resolved(config)
        r3_checks.check(config, streams)
        super().__init__(config, streams)

    def build_model(self) -> R3Model:
        """The model with every weight created."""
        num_rows, field = self.config.model.language.vocabulary_size, "vocabulary_size"
        if self.config.corruption.share:
            # Behind the words: the mask is none of them.
            num_rows, field = self.config.corruption.mask_id, "vocabulary_size less the mask's row"
        for name, stream in self.streams.items():
            check_vocabulary(name, stream.input.prompted, num_rows, f"task.model.language.{field}")
        return R3Model(self.config.model)

    def encode(
        self, model: R3Model, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> R3Outputs:
        """Reads features and caption; rows that lack features count nothing."""
        config = self.config
        read = clean = shift_right(batch["targets"])
        if training and config.corruption.share:
            read = corrupt_tokens(
                read, config.corruption, config.model.language.vocabulary_size, seed
            )
        seen = model.encode(batch, training=training, seed=seed)
        decoded = model.decode(read, seen, training=training, seed=seed)
        present = batch["example_mask"] * batch["features_mask"]
        mask = padding_mask(batch["targets"]) * present[:, tf.newaxis]
        sequence = token_terms(model.language.logits(decoded.tokens), batch["targets"], mask)
        places = sequence.weight
        if config.loss_denominator == "per_position":
            places = present * tf.cast(tf.shape(mask)[1], tf.float32)
        reports = {f"encoder/{name}": report for name, report in seen.roles.items()}
        reports |= {f"decoder/{name}": report for name, report in decoded.roles.items()}
        cost = tf.zeros_like(present)
        if reports:
            masks = self._masks(reports, seen, clean)
            weight = config.model.language.quantizer.commitment_weight
            cost = present * role_loss(reports, masks, weight)
        uses = {name: report.use for name, report in reports.items() if report.use is not None}
        return R3Outputs(sequence, places, present, cost, uses)

    def _masks(self, names, seen: Seen, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """float32[batch, queries] of the tokens whose codes cost something."""
        of_text = tf.concat([tf.ones_like(read[:, :1]), read[:, 1:]], axis=1)
        of_side = {"encoder": seen.mask, "decoder": padding_mask(of_text)}
        if self.config.role_loss_over == "positions":
            of_side = {side: tf.ones_like(mask) for side, mask in of_side.items()}
        return {name: of_side[name.split("/")[0]] for name in names}

    def terms(
        self,
        model: R3Model,
        outputs: R3Outputs,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """The caption's loss plus that of the dictionaries; metrics `caption_loss`,
        `token_accuracy`, and of models with codes `role_loss`, `code_perplexity`, `rare_codes`."""
        sequence, metrics = outputs.sequence, {}
        places, rows = tf.reduce_sum(outputs.num_places), tf.reduce_sum(outputs.present)
        total = tf.reduce_sum(sequence.loss)
        metrics["caption_loss"] = Term(total, places)
        metrics["token_accuracy"] = Term(
            tf.reduce_sum(sequence.hits), tf.reduce_sum(sequence.weight)
        )
        dictionaries = model.dictionaries()
        if dictionaries:
            cost = tf.reduce_sum(outputs.role_loss)
            metrics["role_loss"] = Term(cost, rows)
            # A mean over rows beside one over places: the two counts are those of all replicas.
            counts = tf.reduce_sum(gather(tf.stop_gradient([[places, rows]])), axis=0)
            each = tf.math.divide_no_nan(counts[0], counts[1])
            total += self.config.role_loss_weight * cost * each
            for name, use in outputs.uses.items():
                dictionaries[name].update(use)
            metrics |= code_metrics(dictionaries)
        return StepTerms(Term(total, places), metrics)

    def stack_depths(self) -> dict[str, int]:
        """Of encoder and decoder, where the layers of each are alike."""
        language = self.config.model.language
        depths = {}
        if len(set(language.encoder_roles)) == 1:
            depths["language.num_encoder_layers"] = language.num_encoder_layers
        if len(set(language.decoder_roles)) == len(set(language.cross_roles)) == 1:
            depths["language.num_decoder_layers"] = language.num_decoder_layers
        return depths

    def tokens_per_example(self, stream: str) -> int:
        inputs = self.streams[stream].input
        return self.config.model.num_tokens + inputs.prompted.num_target_tokens

    def summaries(self, model: R3Model, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: what the model writes, the roles of its tokens and what they look at, and the use
        of codes."""
        return batch_panels(model, batch, self.streams[stream].input)


def _resolved(config: R3TaskConfig) -> R3TaskConfig:
    model = r3_config.resolve(config.model)
    released = model.preset == "reference_code"
    corruption = config_tools.fill(
        config.corruption,
        {"mask_id": model.language.vocabulary_size - 1, "start": released, "any_id": released},
    )
    config = dataclasses.replace(config, model=model, corruption=corruption)
    return config_tools.fill(config, PRESETS[model.preset])
