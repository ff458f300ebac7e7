"""IMP: streams of images, videos, sounds and texts with objectives of their own, one encoder."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from mm_models.imp import config as imp_config
from mm_models.imp import token_counts
from mm_models.imp.config import ImpConfig
from mm_models.imp.model import ImpModel
from mm_models.losses import classification
from mm_models.losses.contrastive import pair_nce_loss
from mm_models.losses.term import Term
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.batch_panels import batch_panels
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.classifier import Classifier
from trainers.tasks.imp import checks as imp_checks
from trainers.tasks.imp import objectives as imp_objectives
from trainers.tasks.imp import routing as imp_routing
from trainers.tasks.imp.class_captions import LabelPrompts
from trainers.tasks.imp.objectives import SOURCES, ImpObjectiveConfig, pair_modalities
from trainers.tasks.shared.in_batch_accuracy import in_batch_accuracy
from trainers.tasks.shared.label_accuracy import label_accuracy
from trainers.tasks.shared.vocabulary_check import check_vocabulary
from trainers.tasks.terms import Batch, Gather, StepTerms


@dataclasses.dataclass
class ImpTaskConfig:
    """What IMP learns.

    Attributes:
        name: `imp`.
        model: the encoder and what is in front of and behind it.
        objectives: by name; each stream takes one (`streams.<name>.objective`).
        router_z_loss_weight: of the mean over tokens of the squared log-sum-exp of the router's
            logits, summed over the layers with experts.
        balance_loss_weight: of the loss that keeps experts equally busy when tokens choose.

    Source: IMP; the released code for the weights.
    """

    name: str = "imp"
    model: ImpConfig = dataclasses.field(default_factory=ImpConfig)
    objectives: dict[str, ImpObjectiveConfig] = dataclasses.field(default_factory=dict)
    router_z_loss_weight: float = 1.0
    balance_loss_weight: float = 0.01


class ImpOutputs(NamedTuple):
    """What `ImpTask.encode` gives.

    Attributes:
        pooled: float[batch, dim], or float[batch, instances, dim], by modality.
        routings: a Routing for each layer with experts, by modality.
        masks: float32[batch, instances] by modality, 1 where the instance exists.
    """

    pooled: dict[str, tf.Tensor]
    routings: dict[str, tuple]
    masks: dict[str, tf.Tensor]


class ImpTask(Task):
    """Contrastive losses between any two modalities and classifiers, stream by stream.

    Attributes:
        config: with the class names of its objectives filled in.
    """

    config: ImpTaskConfig

    def __init__(self, config: ImpTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when objectives, streams and model do not fit together."""
        super().__init__(imp_checks.resolve(config, streams), streams)
        # Asked for its tokens, the model's config complains about inputs that it cannot take.
        for name in streams:
            self.tokens_per_example(name)
        self._prompts: dict[str, LabelPrompts] = {}

    def objective(self, stream: str) -> ImpObjectiveConfig:
        """What `stream` learns."""
        return self.config.objectives[self.streams[stream].objective]

    def build_model(self) -> ImpModel:
        """The model with every weight created, and the sentences of the streams' classes."""
        rows = imp_config.resolve(self.config.model).text.vocabulary_size
        for name, stream in self.streams.items():
            objective = self.objective(name)
            check_vocabulary(name, stream.input.text, rows, "task.model.text.vocabulary_size")
            if objective.label_prompts:
                self._prompts[name] = LabelPrompts(objective, stream.input.text)
        return ImpModel(self.config.model)

    def encode(
        self, model: ImpModel, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> ImpOutputs:
        """One pass of the encoder for each modality of the stream's objective."""
        objective = self.objective(stream)
        inputs, masks = {}, {}
        for modality in imp_objectives.modalities(objective):
            source = SOURCES[modality]
            if source == "text" and stream in self._prompts:
                inputs["text"], masks["text"] = self._prompts[stream].draw(batch["label"], seed)
            elif source == "text":
                inputs["text"], masks["text"] = batch["text"], batch["text_candidate_mask"]
            else:
                inputs[modality] = batch[source]
                masks[modality] = batch[f"{source}_mask"][:, tf.newaxis]
        encoded = model.encode(
            inputs,
            training=training,
            seed=seed,
            drop_token=objective.drop_token,
            patch=objective.patch,
        )
        return ImpOutputs(encoded.pooled, encoded.routings, masks)

    def terms(
        self,
        model: ImpModel,
        outputs: ImpOutputs,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """The objective's losses; metrics `video_text_loss`, `video_text_accuracy`,
        `video_text_temperature`, `classifier_loss`, `classifier_accuracy` and those of the experts.
        """
        objective = self.objective(stream)
        batch_size = tf.cast(tf.shape(batch["example_mask"])[0], tf.float32)
        total, metrics = tf.zeros([]), {}
        embeddings = model.project(outputs.pooled, training=training) if objective.pairs else {}
        for pair, weight in objective.pairs.items():
            pair_sum, shown = _contrast(model, pair, objective.margin, embeddings, outputs, gather)
            total += weight / len(objective.pairs) * pair_sum
            metrics |= shown
        if objective.classifier:
            class_sum, shown = _classify(model, objective, outputs, batch, gather)
            total += objective.classifier_weight * class_sum
            metrics |= shown
        routing = imp_routing.routing_losses(outputs.routings)
        for name, weight in (
            ("z_loss", self.config.router_z_loss_weight),
            ("balance_loss", self.config.balance_loss_weight),
        ):
            if name in routing:
                total += weight * routing[name] * batch_size
        metrics |= imp_routing.routing_metrics(outputs.routings)
        return StepTerms(Term(total, batch_size), metrics)

    def stack_depths(self) -> dict[str, int]:
        """Of the encoder; with experts its layers are not alike."""
        model = imp_config.resolve(self.config.model)
        return {} if model.num_experts else {"num_layers": model.num_layers}

    def tokens_per_example(self, stream: str) -> int:
        objective = self.objective(stream)
        shapes = imp_objectives.example_shapes(objective, self.streams[stream].input)
        return token_counts.tokens_per_example(
            self.config.model, shapes, drop_token=objective.drop_token, patch=objective.patch
        )

    def num_classes(self, stream: str) -> int:
        """Those of the objective's classifier, or those that its sentences name."""
        objective = self.objective(stream)
        named = len(objective.class_names)
        return self.config.model.classifiers.get(objective.classifier, named)

    def classifiers(self) -> dict[str, Classifier]:
        """Those of the objectives that have one."""
        sizes = self.config.model.classifiers
        return {
            name: Classifier(
                list(one.class_names) or [str(label) for label in range(sizes[one.classifier])],
                one.classifier_modality,
                one.classifier_loss == "sigmoid",
                functools.partial(_logits, one),
            )
            for name, one in self.config.objectives.items()
            if one.classifier
        }

    def summaries(self, model: ImpModel, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: clip strips with captions, spectrograms, sounds and similarity matrices."""
        patch = self.objective(stream).patch
        return batch_panels(model, batch, self.streams[stream].input, patch)


def _logits(
    objective: ImpObjectiveConfig, model: ImpModel, inputs: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """float32[batch, classes] of the objective's classifier."""
    pooled = model.encode(inputs, patch=objective.patch).pooled
    return model.classify(pooled[objective.classifier_modality], objective.classifier)


def _contrast(
    model: ImpModel,
    pair: str,
    margin: float,
    embeddings: Mapping[str, tf.Tensor],
    outputs: ImpOutputs,
    gather: Gather,
) -> tuple[tf.Tensor, dict[str, Term]]:
    """Summed loss and the metrics of a pair of modalities."""
    modalities = pair_modalities(pair)
    spaces = model.spaces(*modalities)
    first, second = (embeddings[space] for space in spaces)
    first_mask, second_mask = (outputs.masks[modality] for modality in modalities)
    temperature = model.temperature(*modalities)
    loss = pair_nce_loss(
        first,
        second,
        first_mask=first_mask,
        second_mask=second_mask,
        temperature=temperature,
        margin=margin,
        gather=gather,
    )
    candidates = second if second.shape.rank == 3 else second[:, tf.newaxis]
    return loss.sum, {
        f"{pair}_loss": Term(loss.sum, loss.weight),
        f"{pair}_accuracy": in_batch_accuracy(
            first, candidates, first_mask[:, 0], second_mask, gather
        ),
        f"{pair}_temperature": Term(tf.stop_gradient(temperature), tf.ones([])),
    }


def _classify(
    model: ImpModel,
    objective: ImpObjectiveConfig,
    outputs: ImpOutputs,
    batch: Batch,
    gather: Gather,
) -> tuple[tf.Tensor, dict[str, Term]]:
    """Summed loss and the metrics of the objective's classifier.

    The sum is so scaled that division by the batch size gives the mean over the rows that count.
    """
    modality = objective.classifier_modality
    logits = model.classify(outputs.pooled[modality], objective.classifier)
    targets = classification.label_targets(batch["label"], logits.shape[1])
    mask = batch["example_mask"] * outputs.masks[modality][:, 0]
    if objective.classifier_loss == "softmax":
        mask *= tf.reduce_max(targets, axis=1)
        loss = classification.softmax_loss(logits, targets, mask)
    else:
        loss = classification.sigmoid_loss(logits, targets, mask)
    everyone = gather(mask)
    scale = tf.math.divide_no_nan(tf.cast(tf.size(everyone), tf.float32), tf.reduce_sum(everyone))
    hits = label_accuracy(logits, targets, mask * tf.reduce_max(targets, axis=1))
    return loss.sum * scale, {"classifier_loss": loss, "classifier_accuracy": hits}
