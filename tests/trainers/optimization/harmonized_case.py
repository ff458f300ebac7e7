"""A tiny task whose gradients are harmonized, and its gradients row by row."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tests.trainers.tasks.batches import make_batch, make_task, model_config
from trainers.optimization.gradient_rules import PlainGradients
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.optimization.harmonization.rule import measure

SEED = tf.constant([3, 4], tf.int32)
BATCH = 4


# Most tests compare with formulas that know nothing of batch norm.
PLAIN = {"method": "monitor", "restrain": False}


class Case:
    """A tiny task, its model and batch, with dropout and token dropping on."""

    def __init__(self, variant, **harmonization):
        config = model_config(variant, drop_token_rate=0.5)
        parts = [config.shared] if variant == "agnostic" else [config.video, config.text]
        for part in parts:
            part.num_layers, part.dropout_rate = 2, 0.1
        self.task = make_task(
            model=config,
            audio_text_weight=0.5,
            harmonization=HarmonizationConfig(**{**PLAIN, **harmonization}),
        )
        self.task.streams["clips"].input.batch_size = BATCH
        # Whether any rows conflict depends on the weights.
        keras.utils.set_random_seed(2)
        self.model = self.task.build_model()
        rng = np.random.default_rng(1)
        for variable in self.model.trainable_variables:
            variable.assign(variable + 0.05 * rng.normal(size=variable.shape))
        batch = make_batch(BATCH)
        self.batch = {name: tf.constant(value) for name, value in batch.items()}

    @contextlib.contextmanager
    def statistics_kept(self):
        """Puts running statistics back, which every pass changes."""
        before = [np.array(v) for v in self.model.non_trainable_variables]
        yield
        for variable, value in zip(self.model.non_trainable_variables, before, strict=True):
            variable.assign(value)

    def rule(self, **changes):
        if changes:
            self.task.config.harmonization = HarmonizationConfig(**{**PLAIN, **changes})
        return self.task.gradient_rule(
            self.model, self.model.trainable_variables, stream="clips", mean=True
        )

    def gradients(self, rule, step=0):
        """(terms, gradient by path)."""
        with self.statistics_kept():
            terms, found = rule.gradients(rule.forward, self.batch, SEED, tf.constant(step))
        paths = [variable.path for variable in self.model.trainable_variables]
        pairs = zip(paths, found, strict=True)
        return terms, {path: tf.convert_to_tensor(value).numpy() for path, value in pairs}

    def plain(self):
        rule = PlainGradients(
            self.task, self.model, self.model.trainable_variables, stream="clips", mean=True
        )
        return self.gradients(rule)

    def conflict(self, **changes):
        rule = self.rule(**changes)
        with self.statistics_kept():
            passed = rule.run(rule.forward, self.batch, SEED, rule.terms)
        return rule, passed, measure(passed, rule.config, rule.parts, self.batch)

    def sample_gradients(self, rule, passed, variables):
        """Two float64[batch, parameters] by one backward pass per row and loss."""
        sides = []
        for rows in (passed.first, passed.second):
            each = []
            for row in range(BATCH):
                chosen = np.eye(BATCH, dtype=np.float32)[row]
                cotangents = {
                    name: value * chosen.reshape([-1] + [1] * (value.shape.rank - 1))
                    for name, value in rows.items()
                }
                names = list(passed.pooled)
                found = passed.tape.gradient(
                    [passed.pooled[name] for name in names],
                    [variable.value for variable in variables],
                    [cotangents[name] for name in names],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                flat = [np.ravel(tf.convert_to_tensor(v)) for v in found]
                each.append(np.concatenate(flat))
            sides.append(np.array(each, np.float64))
        return sides
