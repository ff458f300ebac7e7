"""Learning classes of one modality: what all classifiers share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_models.layers import mixup, randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.losses import classification
from mm_models.losses.term import Term
from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.class_panels import batch_panels
from trainers.evaluation.pictures.panels import Panel
from trainers.tasks.base import Task
from trainers.tasks.classification import checks
from trainers.tasks.classifier import Classifier
from trainers.tasks.shared.label_accuracy import label_accuracy
from trainers.tasks.terms import Batch, Gather, StepTerms


@dataclasses.dataclass
class ClassificationTaskConfig:
    """What is learned of classes, whatever the model.

    Attributes:
        num_classes: 0 takes as many as there are names.
        class_names: in index order; empty takes `labels` of the data sets' `dataset_info.json`, and
            numbers where there are none. The run keeps the names it found.
        loss: `softmax` (one class per example; several share the target) or `sigmoid` (any number).
        label_smoothing: of `softmax`: share of the target spread evenly over the classes.
        class_balanced: of `sigmoid`: examples of classes that are rare in the batch count more. The
            counts are those of a replica's own batch, as in VATT's reference code, so this loss
            depends on the number of replicas.
        mixup_alpha, mixup_beta: blend every training example and its classes with another one of
            the batch, by a share from Beta(alpha, beta); 0 and 0: off.

    Source: VATT, section 4.1, appendices A.2.5, A.3 and A.3.1.
    """

    num_classes: int = 0
    class_names: list[str] = dataclasses.field(default_factory=list)
    loss: str = "softmax"
    label_smoothing: float = 0.0
    class_balanced: bool = False
    mixup_alpha: float = 0.0
    mixup_beta: float = 0.0


class ClassificationTask(Task):
    """Cross-entropy on the classes of one modality's clips.

    The model maps {modality: inputs} to float32[batch, classes], logits.

    Rows that lack the modality, and under `softmax` rows without a label, do not count.

    Attributes:
        config: with class names and their number filled in.
        class_names: in index order.
        modality: what is looked at.
        is_multi_label: whether an example may have any number of classes.
    """

    config: Any

    def __init__(self, config: Any, modality: str, streams: Mapping[str, StreamConfig]):
        """Raises UserError when the streams lack labels, or read something else."""
        checks.check_values(config)
        for name, stream in streams.items():
            checks.check_stream(modality, name, stream.input)
        names = checks.class_names(config, streams)
        config = dataclasses.replace(config, class_names=names, num_classes=len(names))
        super().__init__(config, streams)
        self.class_names: list[str] = names
        self.modality = modality
        self.is_multi_label: bool = config.loss == "sigmoid"

    def encode(
        self, model: keras.Model, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`logits` and `targets: float32[batch, classes]`, and `mask: float32[batch]`.

        Mix-up happens here, where the seed is, and so to inputs and targets alike.
        """
        inputs = batch[self.modality]
        mask = batch["example_mask"] * batch[f"{self.modality}_mask"]
        targets = classification.label_targets(batch["label"], self.config.num_classes)
        if training and self.config.mixup_alpha > 0:
            shares = mixup.beta_shares(
                tf.shape(mask)[0],
                self.config.mixup_alpha,
                self.config.mixup_beta,
                randomness.fold_in(seed, Purpose.MIXUP),
            )
            # A row whose partner has nothing to give stays as it is.
            shares = tf.where(tf.reverse(mask, axis=[0]) > 0, shares, tf.ones_like(shares))
            inputs, targets = mixup.blend(inputs, shares), mixup.blend(targets, shares)
        logits = model({self.modality: inputs}, training=training, seed=seed)
        return {"logits": logits, "targets": targets, "mask": mask}

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
        """The loss; metric `accuracy`: how often the highest score is a class of the example.

        With mix-up it must be the class of the larger part. Metric `labelled` is the share of rows
        with a label among the classes: below 1 where `num_classes` is too small for the data.
        """
        logits, targets, mask = (outputs[name] for name in ("logits", "targets", "mask"))
        if self.is_multi_label:
            loss = classification.sigmoid_loss(logits, targets, mask, self.config.class_balanced)
        else:
            loss = classification.softmax_loss(logits, targets, mask, self.config.label_smoothing)
        has_label = tf.cast(tf.reduce_max(targets, axis=1) > 0, tf.float32)
        labelled = Term(tf.reduce_sum(has_label * mask), tf.reduce_sum(mask))
        hits = label_accuracy(logits, targets, mask * has_label)
        return StepTerms(loss, {"accuracy": hits, "labelled": labelled})

    def num_classes(self, stream: str) -> int:
        """The same for all streams."""
        return len(self.class_names)

    def classifiers(self) -> dict[str, Classifier]:
        """The model itself, which averages over views."""
        return {
            "": Classifier(
                self.class_names,
                self.modality,
                self.is_multi_label,
                lambda model, inputs: model(dict(inputs), training=False),
            )
        }

    def summaries(self, model: keras.Model, batch: Batch, *, stream: str) -> list[Panel]:
        """Panels: clips or spectrograms with true and predicted class, sounds, confusion."""
        return batch_panels(model, batch, self.streams[stream].input, self.classifiers()[""])
