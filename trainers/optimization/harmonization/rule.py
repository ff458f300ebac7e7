"""Gradients in which two losses disturb each other less.

Every row of the pooled features gets one cotangent per loss, from the global loss through the
differentiable gather. Their backward passes add up to the gradients of the batch, which is why rows
can be weighted, projected or left out on their own.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.transformer.block_inputs import OpenRows
from mm_models.losses.term import Term
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE
from trainers.optimization.gradient_rules import GradientRule
from trainers.optimization.harmonization import measures, projection
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.optimization.harmonization.stack_cut import Harmonizable, StackCut, shaped_like
from trainers.tasks.terms import Batch, StepTerms


@dataclasses.dataclass(frozen=True)
class HarmonizedParts:
    """What a task tells about the two losses.

    Attributes:
        losses: names of the two among the rows of `StepTerms`.
        anchor: modality that both losses look at.
        modalities: of each loss, those whose rows run through the shared parameters.
        shared: the shared parameters.
        heads: parameters behind the pooled rows.
        use_bias: whether the last Dense of the shared stack has one.
        normalized: modalities whose pooled rows go through a Dense into batch norm.
        datasets: names of the stream's data sets, in the order of example ids.
    """

    losses: tuple[str, str]
    anchor: str
    modalities: tuple[tuple[str, ...], tuple[str, ...]]
    shared: Sequence[keras.Variable]
    heads: Sequence[keras.Variable]
    use_bias: bool
    normalized: Sequence[str]
    datasets: Sequence[str]


class Conflict(NamedTuple):
    """How much the two losses of each row's group disagree.

    Attributes:
        products: of the group gradients, one entry a group.
        cosine: float32[batch] of the row's group.
        valid: bool[batch] whether the row has both losses and neither gradient vanishes.
    """

    products: projection.Products
    cosine: tf.Tensor
    valid: tf.Tensor


class Pass(NamedTuple):
    """One forward pass that is differentiated in parts.

    Attributes:
        tape: persistent, over everything.
        hidden: float[batch, (rows,) mlp_dim] that the last Dense of a stack reads, by modality.
        branches: float[batch * rows, 1, dim] that it gives.
        pooled: float[batch, (rows,) dim] by modality.
        terms: of the task.
        first, second, rest: cotangents by modality, float[batch, (rows,) dim], of the two losses
            and of all others.
    """

    tape: tf.GradientTape
    hidden: Mapping[str, tf.Tensor]
    branches: Mapping[str, tf.Tensor]
    pooled: Mapping[str, tf.Tensor]
    terms: StepTerms
    first: Mapping[str, tf.Tensor]
    second: Mapping[str, tf.Tensor]
    rest: Mapping[str, tf.Tensor]


class HarmonizedGradients(GradientRule):
    """Realignment and curriculum for the two losses that a task names.

    Attributes:
        cut: where the pass is cut in two.

    Source: cross-modality gradient harmonization, algorithms 1 and 2. Parameters that the losses do
    not share are not realigned. A group that the curriculum leaves out keeps its place among the
    negatives of the others: its pooled rows pass nothing back, and its own losses do not move the
    heads.
    """

    def __init__(
        self,
        task: Harmonizable,
        *arguments,
        config: HarmonizationConfig,
        parts: HarmonizedParts,
        **options,
    ):
        """Takes the arguments of `Task.gradient_rule`, the config and what the task tells."""
        super().__init__(task, *arguments, **options)
        self.config, self.parts = config, parts
        self.cut = StackCut(task, self.model, self.stream)
        heads = {id(variable) for variable in parts.heads}
        shared = {id(variable) for variable in parts.shared}
        self._groups = [
            "head" if id(variable) in heads else "shared" if id(variable) in shared else "own"
            for variable in self.variables
        ]

    def forward(self, batch: Batch, seed: tf.Tensor) -> dict[str, OpenRows]:
        return self.cut.open(batch, seed, training=True)

    def gradients(self, forward, batch, seed, step):
        passed = self.run(forward, batch, seed, self.terms)
        conflict = measure(passed, self.config, self.parts, batch)
        keep, gamma = self._keep(conflict, seed, step)
        gradients = self._backward(passed, self._cotangents(passed, conflict, keep), keep)
        metrics = conflict_metrics(conflict, keep, gamma, batch, self.parts.datasets)
        terms = dataclasses.replace(passed.terms, metrics={**passed.terms.metrics, **metrics})
        return terms, gradients

    def run(
        self,
        forward: Callable[..., Any],
        batch: Batch,
        seed: tf.Tensor | None,
        terms: Callable[..., StepTerms],
        training: bool = True,
    ) -> Pass:
        """Forward pass and the cotangents of the pooled rows."""
        with tf.GradientTape(persistent=True) as tape:
            opened = forward(batch, seed)
            pooled, branches = self.cut.close(opened, batch, seed, training=training)
            result = terms(pooled, batch)
            scale = self.scale(result.loss)
            rows = {name: value * scale for name, value in result.rows.items()}
            others = [value for name, value in rows.items() if name not in self.parts.losses]
            rest = tf.add_n(others) if others else None
        first, second = (_cotangents(tape, rows[name], pooled) for name in self.parts.losses)
        rest = _cotangents(tape, rest, pooled)
        result = dataclasses.replace(result, rows=rows)
        hidden = {name: rows.hidden for name, rows in opened.items()}
        return Pass(tape, hidden, branches, pooled, result, first, second, rest)

    def _keep(self, conflict: Conflict, seed: tf.Tensor, step: tf.Tensor):
        """float32[batch] 1 for rows that train, and the threshold."""
        if not self.config.filters:
            return tf.ones_like(conflict.cosine), None
        gamma = projection.threshold(self.config, step)
        scores = conflict.cosine
        if self.config.random_scores:
            size = group_size(self.config, scores.shape[0])
            handed = projection.shuffled(
                scores[::size],
                tf.reduce_any(tf.reshape(conflict.valid, [-1, size]), axis=1),
                randomness.fold_in(seed, Purpose.SHUFFLED_CONFLICTS),
            )
            scores = tf.repeat(handed, size)
        return tf.cast((scores > gamma) | ~conflict.valid, tf.float32), gamma

    def _cotangents(self, passed: Pass, conflict: Conflict, keep: tf.Tensor) -> dict[str, Any]:
        """Cotangents of the pooled rows by parameter group, `shared` and `own`."""
        factors = self._factors(passed, conflict) if self.config.realigns else None
        anchor_only = self.config.update == "feature"
        plain, aligned = {}, {}
        for name in passed.pooled:
            first, second, rest = passed.first[name], passed.second[name], passed.rest[name]
            untouched = first + second + rest
            plain[name] = self._restrained(name, _weigh(untouched, keep), untouched, passed)
            aligned[name] = plain[name]
            if factors is not None and (name == self.parts.anchor or not anchor_only):
                total = _weigh(first, factors[0]) + _weigh(second, factors[1]) + rest
                total = _weigh(total, keep)
                aligned[name] = self._restrained(name, total, untouched, passed)
        return {"shared": aligned, "own": aligned if anchor_only else plain}

    def _restrained(
        self, name: str, cotangents: tf.Tensor, untouched: tf.Tensor, passed: Pass
    ) -> tf.Tensor:
        """`cotangents` without what of their change batch norm cannot feel, where there is one."""
        if not self.config.restrain or name not in self.parts.normalized:
            return cotangents
        change = projection.felt_through_batch_norm(cotangents - untouched, passed.pooled[name])
        return untouched + change

    def _factors(self, passed: Pass, conflict: Conflict) -> tuple[tf.Tensor, tf.Tensor]:
        """float32[batch] factors of the rows of the two losses."""
        products, spans = conflict.products, self.config.granularity == "batch"
        num_groups = products.dot.shape[0]
        size = conflict.cosine.shape[0] // num_groups
        if self.config.update == "feature":
            anchor = self.parts.anchor
            products = measures.feature_products(
                passed.first[anchor], passed.second[anchor], num_groups, spans
            )
        conflicting = conflict.products.cosine() < 0.0
        factors = projection.realign_factors(products, conflicting)
        ones = tf.ones_like(conflict.cosine)
        return tuple(tf.where(conflict.valid, tf.repeat(each, size), ones) for each in factors)

    def _backward(self, passed: Pass, cotangents: Mapping, keep: tf.Tensor) -> list:
        """Gradients in the order of the variables."""
        groups: dict[str, tuple[str, ...]]
        if self.config.update == "feature" or not self.config.realigns:
            groups = {"shared": ("shared", "own")}
        else:
            groups = {"shared": ("shared",), "own": ("own",)}
        found: dict[int, tf.Tensor | None] = {}
        for source, members in groups.items():
            values = self._values(*members)
            gradients = backward(passed, cotangents[source], list(values.values()))
            found.update(zip(values, gradients, strict=True))
        heads, rows = self._values("head"), list(passed.terms.rows.values())
        weights = [keep] * len(rows)
        gradients = passed.tape.gradient(rows, list(heads.values()), output_gradients=weights)
        found.update(zip(heads, gradients, strict=True))
        return [found[index] for index in range(len(self.variables))]

    def _values(self, *groups: str) -> dict[int, tf.Variable]:
        return {
            index: variable.value
            for index, (variable, group) in enumerate(
                zip(self.variables, self._groups, strict=True)
            )
            if group in groups
        }


def group_size(config: HarmonizationConfig, batch_size: int) -> int:
    """Rows of a group. Raises UserError when microbatches do not divide a replica's batch."""
    if config.granularity == "batch":
        return batch_size
    if config.granularity == "sample":
        return 1
    if batch_size % config.microbatch_size:
        raise UserError(
            f"task.harmonization.microbatch_size is {config.microbatch_size}, which does not "
            f"divide a batch of {batch_size} (of one replica); change either"
        )
    return config.microbatch_size


def measure(
    passed: Pass, config: HarmonizationConfig, parts: HarmonizedParts, batch: Batch
) -> Conflict:
    """Conflict of the two losses' gradients by `config.measure`, at `config.granularity`."""
    batch_size = passed.pooled[parts.anchor].shape[0]
    spans = config.granularity == "batch"
    num_groups = batch_size // group_size(config, batch_size)
    if config.measure == "feature":
        anchor = parts.anchor
        products = measures.feature_products(
            passed.first[anchor], passed.second[anchor], num_groups, spans
        )
    elif config.measure == "last_layer":
        products = _last_layer(passed, parts, num_groups, spans)
    else:
        shared = [variable.value for variable in parts.shared]
        products = measures.exact_products(
            lambda rows: [
                tf.convert_to_tensor(g) for g in backward(passed, rows, shared, zeros=True)
            ],
            passed.first,
            passed.second,
            num_groups,
            spans,
        )
    repeats = batch_size // num_groups
    valid = _has_both(parts, batch) if repeats == 1 else tf.fill([batch_size], True)
    valid &= tf.repeat(products.both(), repeats)
    return Conflict(products, tf.repeat(products.cosine(), repeats), valid)


def _last_layer(passed, parts, num_groups, spans) -> projection.Products:
    sides = []
    for cotangents, modalities in zip((passed.first, passed.second), parts.modalities, strict=True):
        pooled, branches, rows = (
            {name: values[name] for name in modalities}
            for values in (passed.pooled, passed.branches, cotangents)
        )
        found = passed.tape.gradient(pooled, branches, rows)
        outputs = {name: shaped_like(value, passed.pooled[name]) for name, value in found.items()}
        sides += [
            measures.grouped(passed.hidden, modalities, num_groups, spans),
            measures.grouped(outputs, modalities, num_groups, spans),
        ]
    return measures.last_layer_products(*sides, use_bias=parts.use_bias)


def backward(passed: Pass, cotangents: Mapping[str, tf.Tensor], values: list, zeros: bool = False):
    """Gradients of `values` from cotangents of the pooled rows."""
    unconnected = tf.UnconnectedGradients.ZERO if zeros else tf.UnconnectedGradients.NONE
    names = list(passed.pooled)
    return passed.tape.gradient(
        [passed.pooled[name] for name in names],
        values,
        output_gradients=[tf.cast(cotangents[name], passed.pooled[name].dtype) for name in names],
        unconnected_gradients=unconnected,
    )


def conflict_metrics(
    conflict: Conflict,
    keep: tf.Tensor,
    gamma: tf.Tensor | None,
    batch: Batch,
    datasets: Sequence[str],
) -> dict[str, Term]:
    """Terms for the log: shares of conflicting and dropped rows, mean cosine, and the threshold."""
    valid = tf.cast(conflict.valid, tf.float32)
    values = {
        "conflict_share": tf.cast(conflict.cosine < 0.0, tf.float32),
        "cosine": conflict.cosine,
    }
    metrics: dict[str, Term] = {}
    if gamma is not None:
        values["dropped_share"] = 1.0 - keep
        started = tf.cast(gamma > projection.NEVER, tf.float32)
        metrics["harmonization/threshold"] = Term(gamma * started, started)
    for name, value in values.items():
        metrics[f"harmonization/{name}"] = Term(tf.reduce_sum(value * valid), tf.reduce_sum(valid))
        if len(datasets) > 1:
            for index, dataset in enumerate(datasets):
                mask = valid * tf.cast(dataset_numbers(batch) == index, tf.float32)
                metrics[f"harmonization/{name}/{dataset}"] = Term(
                    tf.reduce_sum(value * mask), tf.reduce_sum(mask)
                )
    return metrics


def dataset_numbers(batch: Batch) -> tf.Tensor:
    """int64[batch] position of each row's data set among those of its stream."""
    return batch["example_id"] // EXAMPLE_ID_STRIDE


def _has_both(parts: HarmonizedParts, batch: Batch) -> tf.Tensor:
    """bool[batch] rows that have every modality of both losses."""
    names = ("video", "audio", "text")
    masks = [tf.cast(batch[f"{name}_mask"], tf.float32) for name in names]
    present = masks[0] * masks[1] * masks[2]
    if "example_mask" in batch:
        present *= tf.cast(batch["example_mask"], tf.float32)
    return present > 0.0


def _cotangents(tape: tf.GradientTape, rows: tf.Tensor | None, pooled: Mapping) -> dict:
    if rows is None:
        return {name: tf.zeros_like(value) for name, value in pooled.items()}
    return tape.gradient(rows, dict(pooled), unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _weigh(value: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Rows of `value: float[batch, ...]` times `factors: float32[batch]`."""
    shape = [-1] + [1] * (value.shape.rank - 1)
    return value * tf.reshape(tf.cast(factors, value.dtype), shape)
