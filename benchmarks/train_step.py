"""Our train step, loop included, against a bare compiled forward, backward and update.

Both train the same transformer tower contrastively on the same batches with the same optimizer; the
bare one is what one would write by hand for one device. Rounds alternate; medians are compared.
"""

import dataclasses
import tempfile
import time
from typing import Any

from benchmarks.results import compare

AIM = 1.05
ROUNDS = 9
STEPS = 50
BATCH, TOKENS, DIM, LAYERS = 32, 64, 128, 2
SMALLEST = {"ROUNDS": 1, "STEPS": 2}


def run() -> list[dict]:
    """One result: seconds per step of ours and of the bare step, and their ratio."""
    ours, bare = _Ours(), _Bare()
    ours.steps(STEPS)
    bare.steps(STEPS)
    pairs = [(ours.steps(STEPS), bare.steps(STEPS)) for _ in range(ROUNDS)]
    unit = "seconds per step, against a bare compiled forward, backward and update"
    return [compare("train step, loop included", pairs, unit, most=AIM)]


def _model() -> Any:
    import keras

    inputs = keras.Input([TOKENS, DIM])
    x = inputs
    for _ in range(LAYERS):
        y = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.MultiHeadAttention(4, DIM // 4)(y, y)
        y = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.Dense(DIM)(keras.layers.Dense(4 * DIM, activation="gelu")(y))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))


def _loss(model: Any, batch: Any) -> Any:
    import tensorflow as tf

    left = tf.math.l2_normalize(model(batch["x"], training=True), -1)
    logits = tf.matmul(left, left, transpose_b=True) / 0.07
    return tf.reduce_logsumexp(logits, -1) - tf.linalg.diag_part(logits)


def _dataset() -> Any:
    import tensorflow as tf

    x = tf.random.stateless_normal([BATCH, TOKENS, DIM], [1, 2])
    return tf.data.Dataset.from_tensors({"x": x}).repeat().prefetch(2)


class _Bare:
    """The step as written by hand, in a plain Python loop."""

    def __init__(self):
        import keras
        import tensorflow as tf

        model = _model()
        optimizer = keras.optimizers.Adam(1e-4)
        optimizer.build(model.trainable_variables)

        @tf.function
        def step(batch):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(_loss(model, batch))
            values = [variable.value for variable in model.trainable_variables]
            optimizer.apply(tape.gradient(loss, values), model.trainable_variables)
            return loss

        self._step, self._iterator = step, iter(_dataset())

    def steps(self, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            loss = self._step(next(self._iterator))
        loss.numpy()
        return (time.perf_counter() - start) / count


class _Ours:
    """The same under Orbit's Controller with our trainer, logging every `STEPS` steps, as runs do
    by default."""

    def __init__(self):
        from trainers.config.schema import ExperimentConfig, StreamConfig
        from trainers.loop.assembly import assemble
        from trainers.loop.training import Training
        from trainers.optimization.config import OptimizerConfig, ScheduleConfig

        optimizer = OptimizerConfig(schedule=ScheduleConfig(learning_rate=1e-4))
        config = ExperimentConfig(
            name="benchmark", task=_TaskConfig(), streams={"main": StreamConfig()}
        )
        config.streams["main"].input.batch_size = BATCH
        config.trainer.optimizers = {"main": optimizer}
        config.trainer.train_steps = 10**6
        config.trainer.steps_per_loop = 10
        config.trainer.summaries.log_interval_steps = STEPS
        config.trainer.checkpoint.interval_steps = 10**6
        import tensorflow as tf

        task = _task(config)
        assembly = assemble(config, _Inputs(), tf.distribute.get_strategy(), task)
        self._folder = tempfile.TemporaryDirectory(prefix="mmstack-benchmark-")
        self._training = Training(assembly, {}, model_dir=self._folder.name)
        self._controller = self._training.open()

    def steps(self, count: int) -> float:
        target = self._training.step + count
        start = time.perf_counter()
        self._controller.train(steps=target, checkpoint_at_completion=False)
        return (time.perf_counter() - start) / count


@dataclasses.dataclass
class _TaskConfig:
    name: str = "benchmark"


def _task(config: Any) -> Any:
    import tensorflow as tf

    from mm_models.losses.term import Term
    from trainers.tasks.base import Task
    from trainers.tasks.terms import StepTerms

    class BenchmarkTask(Task):
        def build_model(self):
            return _model()

        def encode(self, model, batch, *, stream, training, seed):
            return _loss(model, batch)

        def terms(self, model, outputs, batch, *, stream, training, gather):
            loss = Term(tf.reduce_sum(outputs), tf.cast(tf.shape(outputs)[0], tf.float32))
            return StepTerms(loss, {})

        def tokens_per_example(self, stream):
            return TOKENS

        def summaries(self, model, batch, *, stream):
            return []

    return BenchmarkTask(config.task, config.streams)


class _Inputs:
    """The bare loop's batches."""

    def plan(self, input_config, field):
        return "one constant batch"

    def build_train_dataset(self, input_config, *, seed, start_step, input_context):
        return _dataset()

    def contents(self, input_config):
        return {}

    def describe(self, example_ids, input_config):
        return []
