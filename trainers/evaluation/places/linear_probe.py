"""A linear classifier on frozen features of one modality."""

import dataclasses

import keras
import numpy as np

from mm_models.checks import check_choice, check_fields, check_positive, check_rate
from mm_models.errors import UserError
from trainers.data.config import InputConfig
from trainers.evaluation.classes import labels
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import only, source
from trainers.evaluation.places import zero_shot
from trainers.evaluation.places.embeddings import (
    EmbeddedExamples,
    EmbeddingConfig,
    EmbeddingEvaluator,
)
from trainers.tasks.base import Task

MODALITIES = ("video", "audio", "waveform", "text")
PROBES = ("logistic_regression", "low_rank")
BATCH_SIZE = 64
LEARNING_RATE = 5e-4


@dataclasses.dataclass
class LinearProbeConfig(EmbeddingConfig):
    """Fields of `linear_probe`.

    Attributes:
        modality: of the model, that is looked at: `video` (a still is a video input of one frame),
            `audio`, `waveform` (raw samples, of models that take them apart from `audio`), or
            `text`, the first caption.
        class_names: classes in index order; empty takes `labels` of the first data set.
        train_input: training examples.
        probe: `logistic_regression` (scikit-learn), or `low_rank` (VATT, appendix A.3.2).
        probe_steps: steps of the `low_rank` probe.
        probe_rank: width of the `low_rank` bottleneck.
        probe_dropout: share of the bottleneck dropped while the `low_rank` probe trains.
        probe_l2: weight penalty: of the last layer in `low_rank`, 1/C in `logistic_regression`.
    """

    modality: str = "video"
    class_names: list[str] = dataclasses.field(default_factory=list)
    train_input: InputConfig | None = None
    probe: str = "logistic_regression"
    probe_steps: int = 2000
    probe_rank: int = 128
    probe_dropout: float = 0.9
    probe_l2: float = 0.1


class LinearProbeEvaluator(EmbeddingEvaluator):
    """Trains a classifier on the pooled features of `train_input`, scores it on `input`.

    Features are standardised with the training clips' mean and deviation. Test probabilities are
    averaged over a clip's windows; text is the first caption. `low_rank` is the classifier of VATT,
    appendix A.3.2.
    """

    config_class = LinearProbeConfig
    config: LinearProbeConfig

    def __init__(self, name: str, config: LinearProbeConfig, task: Task):
        """Raises UserError when labels, training examples or the modality are not configured."""
        super().__init__(name, config, task)
        _check_probe(config, f"evaluators.{name}")
        if config.train_input is None:
            raise UserError(f"evaluators.{name}.train_input is missing: the probe learns from it")
        for part in (config.input, config.train_input):
            labels.require_labels(part, name)
            self._source = source(config.modality)
            if config.modality not in MODALITIES or self._source not in part.parts:
                raise UserError(
                    f"evaluators.{name}.modality is {config.modality!r}; it must be one of "
                    f"{', '.join(MODALITIES)}, and both inputs must have that part"
                )
        self.num_classes = len(labels.class_names(config.class_names, config.input))

    def inputs(self) -> dict[str, InputConfig]:
        """What is probed, and the labels."""
        found = super().inputs().items()
        return {field: only(config, [self.config.modality]) for field, config in found}

    def metric_names(self) -> set[str]:
        return zero_shot.score_names(self.num_classes, self.config.input)

    def chance(self) -> dict[str, float]:
        return labels.chance(self.num_classes)

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        train = self._features(model, context, self.config.train_input)
        test = self._features(model, context, self.config.input)
        rows, truth = labels.single_labels(train.labels)
        if len(np.unique(truth)) < 2:
            raise UserError(
                f"evaluators.{self.name}.train_input has fewer than two classes; take more clips"
            )
        features = self._pooled(train)[rows]
        views, dim = features.shape[1:]
        flat, mean, deviation = _standardize(features.reshape(-1, dim))
        probabilities = self._fit(flat, np.repeat(truth, views), context.seed)
        queries = (self._pooled(test) - mean) / deviation
        scores = probabilities(queries.reshape(-1, dim)).reshape(len(test), -1, self.num_classes)
        return zero_shot.score(scores.mean(axis=1), test.labels)

    def _features(
        self, model: keras.Model, context: EvaluationContext, whole: InputConfig
    ) -> EmbeddedExamples:
        examples = self.embedder.examples(
            model,
            only(whole, [self.config.modality]),
            context,
            max_examples=self.config.max_examples,
        )
        return examples.take(np.flatnonzero(examples.masks[self._source]))

    def _pooled(self, examples: EmbeddedExamples) -> np.ndarray:
        """float32[examples, views, dim]."""
        features = examples.outputs[self.config.modality]
        return features[:, :1] if self.config.modality == "text" else features

    def _fit(self, features: np.ndarray, truth: np.ndarray, seed: int):
        """A function float[rows, dim] → float[rows, classes] of probabilities."""
        if self.config.probe == "low_rank":
            return fit_low_rank(features, truth, self.num_classes, self.config, seed)
        return fit_logistic_regression(features, truth, self.num_classes, self.config.probe_l2)


def _check_probe(config: LinearProbeConfig, field: str) -> None:
    """Fields that the chosen probe does not read are mistakes."""
    check_choice(config.probe, PROBES, f"{field}.probe")
    if config.probe == "low_rank":
        check_fields(config, 1, ("probe_steps", "probe_rank"), field)
        check_rate(config.probe_dropout, f"{field}.probe_dropout")
        return
    check_positive(config.probe_l2, f"{field}.probe_l2")
    for name in ("probe_steps", "probe_rank", "probe_dropout"):
        if getattr(config, name) != getattr(LinearProbeConfig, name):
            raise UserError(
                f"{field}.{name} is {getattr(config, name)}, which the probe {config.probe} does "
                "not use; leave it out"
            )


def fit_logistic_regression(
    features: np.ndarray, truth: np.ndarray, num_classes: int, l2: float, max_iterations: int = 500
):
    """Multinomial logistic regression; returns float[rows, dim] → float[rows, classes].

    Args:
        features: float[examples, dim].
        truth: int[examples].
        num_classes: columns of the result; classes never seen get probability 0.
        l2: penalty, scikit-learn's 1/C.
        max_iterations: of its solver.
    """
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=1.0 / l2, max_iter=max_iterations).fit(features, truth)

    def probabilities(queries: np.ndarray) -> np.ndarray:
        result = np.zeros((len(queries), num_classes))
        result[:, classifier.classes_] = classifier.predict_proba(queries)
        return result

    return probabilities


def fit_low_rank(
    features: np.ndarray, truth: np.ndarray, num_classes: int, config: LinearProbeConfig, seed: int
):
    """Linear bottleneck, dropout, softmax; returns float[rows, dim] → float[rows, classes].

    Args:
        features: float[examples, dim].
        truth: int[examples].
        num_classes: columns of the result.
        config: rank, dropout, weight penalty and steps.
        seed: of weights, dropout and order.

    Source: VATT, appendix A.3.2 (batch 64, Adam with 5e-4).
    """
    init = keras.initializers.GlorotUniform
    classifier = keras.Sequential(
        [
            keras.layers.Dense(config.probe_rank, kernel_initializer=init(seed=seed)),
            keras.layers.Dropout(config.probe_dropout, seed=seed),
            keras.layers.Dense(
                num_classes,
                activation="softmax",
                kernel_regularizer=keras.regularizers.L2(config.probe_l2),
                kernel_initializer=init(seed=seed + 1),
            ),
        ]
    )
    classifier.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy")
    order = np.random.default_rng(seed).integers(0, len(truth), (config.probe_steps, BATCH_SIZE))
    picked = order.reshape(-1)
    classifier.fit(
        features[picked].astype(np.float32),
        truth[picked],
        batch_size=BATCH_SIZE,
        shuffle=False,
        verbose=0,
    )
    return lambda queries: classifier.predict(queries.astype(np.float32), verbose=0)


def _standardize(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    return (features - mean) / deviation, mean, deviation
