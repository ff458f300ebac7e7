"""VATT pre-training: video, audio and text towers pulled together by contrastive losses."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.config_tools import ResumeRules
from mm_models.errors import UserError
from mm_models.layers.transformer.stack import StackRunner, run_stack
from mm_models.losses.contrastive import nce_loss
from mm_models.losses.term import Term
from mm_models.vatt import config as vatt_config
from mm_models.vatt import token_counts
from mm_models.vatt.config import VattConfig
from mm_models.vatt.model import VattModel
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.evaluation.pictures.batch_panels import batch_panels
from trainers.evaluation.pictures.panels import Panel
from trainers.optimization.gradient_rules import GradientRule
from trainers.optimization.harmonization import config as harmonization_config
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.optimization.harmonization.rule import HarmonizedGradients
from trainers.tasks.base import Task
from trainers.tasks.shared.in_batch_accuracy import in_batch_accuracy
from trainers.tasks.shared.vocabulary_check import check_vocabulary
from trainers.tasks.terms import Batch, Gather, StepTerms
from trainers.tasks.vatt import checks as vatt_checks
from trainers.tasks.vatt import harmonization as vatt_harmonization
from trainers.tasks.vatt import word_vectors as vatt_words
from trainers.tasks.vatt.evaluators.conflict_panels import conflict_panels

MODALITIES = ("video", "audio", "text")


@dataclasses.dataclass
class VattTaskConfig:
    """What VATT learns.

    Attributes:
        name: `vatt`.
        model: towers and head.
        video_audio_weight, video_text_weight, audio_text_weight: of the three contrastive losses.
        loss_normalization: `mean` divides the weighted sum by the sum of the weights of the pairs
            that the stream has, `sum` does not; null takes `mean` for the model preset
            `reference_code` and `sum` for `paper`.
        temperature: similarities are divided by it.
        symmetric: each direction against its own negatives, instead of both in one set.
        denominator: whether that one set counts a row's own pairs once or twice (`positives_once`,
            `positives_twice`); null follows the model preset, the paper having them once.
        word_vectors: file from which the word table of a new run starts, a `.npy` array or
            word2vec's text form (mm_models/text/word_vectors.py); null leaves it random, or as
            `initialize` brought it. Checkpoints hold the table, so that the file is read once.
        mask_missing_captions: leave captions that a clip does not have out of its positives; null
            does so unless the model preset is `reference_code`.
        harmonization: of the gradients of the video-audio and the video-text loss.
    """

    resume = ResumeRules(allowed=("word_vectors",))

    name: str = "vatt"
    model: VattConfig = dataclasses.field(default_factory=VattConfig)
    video_audio_weight: float = 1.0
    video_text_weight: float = 1.0
    audio_text_weight: float = 0.0
    loss_normalization: str | None = None
    temperature: float = 0.07
    symmetric: bool = False
    denominator: str | None = None
    word_vectors: str | None = None
    mask_missing_captions: bool | None = None
    harmonization: HarmonizationConfig = dataclasses.field(default_factory=HarmonizationConfig)


class _Pair(NamedTuple):
    """One contrastive loss: `short` names its metrics."""

    short: str
    anchor: str
    candidate: str
    space: str
    weight_field: str

    @property
    def modalities(self) -> frozenset:
        return frozenset((self.anchor, self.candidate))


PAIRS = (
    _Pair("vidaud", "video", "audio", "va", "video_audio_weight"),
    _Pair("vidtxt", "video", "text", "vt", "video_text_weight"),
    _Pair("audtxt", "audio", "text", "vt", "audio_text_weight"),
)


class VattTask(Task):
    """VATT, sections 3.3 to 3.5: NCE between video and audio, MIL-NCE between video and captions.

    A stream may read any of the modalities as long as one pair with a positive weight remains; rows
    without a modality are masked in the losses that need it.
    """

    config: VattTaskConfig

    def __init__(self, config: VattTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when the streams do not fit the model or leave nothing to learn."""
        super().__init__(config, streams)
        vatt_checks.check_values(config)
        harmonization_config.check(config.harmonization, "task.harmonization")
        vatt_harmonization.check_model(config.harmonization, config.model)
        for name, stream in streams.items():
            vatt_harmonization.check_batch(config.harmonization, stream.input)
            vatt_checks.check_stream(config, name, stream.input)
            if not self._pairs(_modalities_of(stream.input)):
                raise UserError(
                    f"streams.{name} reads {sorted(_modalities_of(stream.input))}, which no loss "
                    "with a positive weight joins; add a modality or a weight"
                )

    def build_model(self) -> VattModel:
        """The model with every weight created."""
        num_rows = vatt_config.resolve(self.config.model).text.vocabulary_size
        for name, stream in self.streams.items():
            check_vocabulary(name, stream.input.text, num_rows, "task.model.text.vocabulary_size")
        return VattModel(self.config.model)

    def initialize(self, model: VattModel) -> list[str]:
        """Word vectors into the word table, where the config names some."""
        if self.config.word_vectors is None:
            return []
        return [vatt_words.load_word_vectors(model, self.config.word_vectors, self.streams)]

    def encode(
        self,
        model: keras.Model,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        seed: tf.Tensor,
        run_stack: StackRunner = run_stack,
    ) -> dict[str, tf.Tensor]:
        """Pooled features by modality: float[batch, dim], text float[batch, candidates, dim]."""
        inputs = {name: batch[name] for name in MODALITIES if name in batch}
        return model.encode(inputs, training=training, seed=seed, run_stack=run_stack)

    def terms(
        self,
        model: keras.Model,
        outputs: Mapping[str, tf.Tensor],
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """The weighted contrastive losses; metrics `vidaud_loss`, `vidtxt_accuracy` and so on.

        Accuracy is the share of rows whose partner scores highest in the global batch; where
        others tie with it, the row counts its chance of being drawn among them, so that collapse
        scores chance.
        """
        embeddings = model.project(outputs, training=training)
        if self.config.audio_text_weight > 0:
            embeddings = model.with_audio_text(embeddings)
        pairs = self._pairs(frozenset(outputs))
        divisor = 1.0
        if vatt_checks.normalization(self.config) == "mean":
            divisor = sum(pairs.values())
        rows: dict[str, tf.Tensor] = {}
        temperature = tf.constant(self.config.temperature, tf.float32)
        metrics: dict[str, Term] = {"temperature": Term(temperature, tf.ones([]))}
        total = tf.zeros([])
        for pair, weight in pairs.items():
            anchors, candidates, masks = self._sides(pair, embeddings, batch)
            term = nce_loss(
                anchors,
                candidates,
                **masks,
                temperature=self.config.temperature,
                symmetric=self.config.symmetric,
                denominator=vatt_checks.denominator(self.config),
                gather=gather,
            )
            total += weight / divisor * term.sum
            rows[pair.short] = weight / divisor * term.rows
            metrics[f"{pair.short}_loss"] = Term(term.sum, term.weight)
            metrics[f"{pair.short}_accuracy"] = in_batch_accuracy(
                anchors, candidates, masks["anchor_mask"], masks["candidate_mask"], gather
            )
        return StepTerms(Term(total, term.weight), metrics, rows)

    def gradient_rule(
        self, model: VattModel, variables: Sequence[keras.Variable], *, stream: str, mean: bool
    ) -> GradientRule:
        """Harmonized gradients where that is asked for and the stream has both losses."""
        inputs = self.streams[stream].input
        if not vatt_harmonization.applies(self.config.harmonization, inputs):
            return super().gradient_rule(model, variables, stream=stream, mean=mean)
        return HarmonizedGradients(
            self,
            model,
            variables,
            stream=stream,
            mean=mean,
            config=self.config.harmonization,
            parts=vatt_harmonization.parts(model, list(inputs.datasets)),
        )

    def stack_depths(self) -> dict[str, int]:
        """Of the towers, or of their one encoder."""
        return vatt_config.stack_depths(self.config.model)

    def tokens_per_example(self, stream: str) -> int:
        inputs = self.streams[stream].input
        candidates = inputs.text.num_candidates if inputs.text is not None else 1
        return token_counts.tokens_per_example(
            self.config.model, sorted(_modalities_of(inputs)), True, candidates
        )

    def summaries(self, model: keras.Model, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: clip strips with captions, spectrograms, sounds and similarity matrices; with
        harmonization also which triplets conflict."""
        inputs = self.streams[stream].input
        shown = batch_panels(model, batch, inputs)
        if vatt_harmonization.applies(self.config.harmonization, inputs):
            configs = {"": self.config.harmonization}
            conflict = vatt_harmonization.batch_conflicts(
                self, model, batch, configs, stream=stream
            )[""]
            cosines, valid = conflict.cosine.numpy(), conflict.valid.numpy()
            shown += conflict_panels(cosines, valid, batch, inputs)
        return shown

    def _pairs(self, modalities: frozenset) -> dict[_Pair, float]:
        weights = {pair: getattr(self.config, pair.weight_field) for pair in PAIRS}
        return {p: w for p, w in weights.items() if w > 0 and p.modalities <= modalities}

    def _sides(self, pair: _Pair, embeddings: Mapping, batch: Mapping) -> tuple:
        """Anchors [batch, dim], candidates [batch, candidates, dim] and the masks of the loss."""
        anchors = embeddings[f"{pair.anchor}_{pair.space}"]
        candidates = embeddings[f"{pair.candidate}_{pair.space}"]
        candidates = candidates if candidates.shape.rank == 3 else candidates[:, None]
        present = batch.get("example_mask", tf.ones_like(anchors[:, 0], tf.float32))
        anchor_present = present * batch[f"{pair.anchor}_mask"]
        each = None
        if pair.candidate == "text" and vatt_checks.masks_captions(self.config):
            each = batch["text_candidate_mask"]
        masks = {
            "anchor_mask": anchor_present * batch[f"{pair.candidate}_mask"],
            "candidate_mask": each,
            "negative_mask": anchor_present,
        }
        return anchors, candidates, masks


def _modalities_of(input_config: InputConfig) -> frozenset:
    return frozenset(MODALITIES).intersection(input_config.parts)
