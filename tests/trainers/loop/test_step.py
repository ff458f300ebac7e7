"""One compiled step: independence of replicas and of accumulation, XLA, traces, non-finite
numbers."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainers import toy_task
from tests.trainers.loop.support import toy_config
from trainers import distribution
from trainers.config.schema import RuntimeConfig
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import StreamReader

MIRRORED = "runtime.distribution_strategy=mirrored"


def _assemble(folder, *overrides):
    inputs = toy_task.ToyInputs()
    config = toy_config(folder, *overrides)
    strategy, task = prepare(config, inputs)
    assembly = assemble(config, inputs, strategy, task)
    reader = StreamReader(config.streams, inputs, strategy, seed=0, positions={"main": 0})
    return assembly, reader


def _replicas(count: int) -> list[str]:
    return [MIRRORED, f"runtime.num_virtual_devices={count}"] if count > 1 else []


def _loss_and_gradients(folder, *overrides):
    """Loss and gradients by variable path on the first global batch."""
    assembly, reader = _assemble(folder, *overrides)
    step, strategy = assembly.train_steps["main"], assembly.strategy

    @tf.function
    def run(batch):
        if distribution.is_single(strategy):
            return step.reduced_gradients(batch)
        terms, gradients = strategy.run(step.reduced_gradients, args=(batch,))
        first = strategy.experimental_local_results
        return (
            {name: [first(value)[0] for value in term] for name, term in terms.items()},
            {path: first(value)[-1] for path, value in gradients.items()},
        )

    terms, gradients = run(reader.next("main"))
    loss = float(terms["loss"][0]) / float(terms["loss"][1])
    return loss, {path: value.numpy() for path, value in gradients.items()}


def _assert_close(ours, theirs, loss_tolerance=1e-5, gradient_tolerance=1e-4):
    assert ours[0] == pytest.approx(theirs[0], abs=loss_tolerance)
    assert ours[1].keys() == theirs[1].keys()
    # A bias in front of batch norm has gradient 0: only rounding of the whole is left there.
    rounding = 1e-6 * np.sqrt(sum(np.sum(value**2) for value in theirs[1].values()))
    for path, expected in theirs[1].items():
        error = np.linalg.norm(ours[1][path] - expected)
        assert error <= gradient_tolerance * np.linalg.norm(expected) + rounding, path


@pytest.mark.parametrize("batch_norm", [False, True])
def test_loss_and_gradients_do_not_depend_on_the_number_of_replicas(tmp_path, batch_norm):
    overrides = [f"task.batch_norm={str(batch_norm).lower()}"]
    one = _loss_and_gradients(tmp_path, *overrides)
    for count in (2, 4):
        _assert_close(_loss_and_gradients(tmp_path, *overrides, *_replicas(count)), one)


def test_xla_gives_the_same_on_one_device_and_on_two(tmp_path):
    plain = _loss_and_gradients(tmp_path)
    jit = "runtime.jit_compile=true"
    _assert_close(_loss_and_gradients(tmp_path, jit, *_replicas(2)), plain)
    for overrides in ([jit], [jit, *_replicas(2)]):
        assembly, reader = _assemble(tmp_path, *overrides)
        step = assembly.train_steps["main"]
        first = step(reader.next("main"))["term/loss"].numpy()
        for _ in range(3):
            step(reader.next("main"))
        assert first[0] / first[1] == pytest.approx(plain[0], abs=1e-5)
        assert step.num_traces == 1
        assert int(assembly.step.numpy()) == 4


def test_loss_is_the_mean_over_valid_rows_in_float64(tmp_path):
    assembly, reader = _assemble(tmp_path)
    outputs = assembly.train_steps["main"]
    model = assembly.model
    batch = toy_task.host_batch(16, seed=0, step=0)
    left = np.asarray(model.left(batch["x"]), np.float64)
    right = np.asarray(model.right(batch["y"]), np.float64)
    logits = left @ right.T / 0.5
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    expected = (rows * batch["weight"]).sum() / batch["weight"].sum()
    total, weight = outputs(reader.next("main"))["term/loss"].numpy()
    assert weight == batch["weight"].sum()
    assert total / weight == pytest.approx(expected, rel=1e-5)


def test_accumulated_parts_equal_the_whole_batch(tmp_path):
    separable = ["task.contrastive=false"]
    whole = _loss_and_gradients(tmp_path, *separable)
    for overrides in (
        ["trainer.accumulation_steps=4"],
        ["trainer.accumulation_steps=2", *_replicas(2)],
    ):
        _assert_close(_loss_and_gradients(tmp_path, *separable, *overrides), whole)


def test_several_replicas_update_weights_slots_and_averages_alike(tmp_path):
    # Adam would blow the rounding of a bias without gradient up to a full step.
    common = ["trainer.ema.decay=0.9", "trainer.optimizers.main.clip_global_norm=0.5"]
    common += ["trainer.optimizers.main.kind=sgd", "trainer.optimizers.main.momentum=0.9"]
    results = []
    for count in (1, 2):
        assembly, reader = _assemble(tmp_path, *common, *_replicas(count))
        for _ in range(3):
            outputs = assembly.train_steps["main"](reader.next("main"))
        slots = assembly.optimizers["main"].groups[0].optimizer.variables
        results.append(
            [
                *(v.numpy() for v in assembly.model.trainable_variables),
                *(v.numpy() for v in assembly.averages.values),
                *(v.value.numpy() for v in slots),
                outputs["gradient_norm/main"].numpy(),
            ]
        )
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_every_replica_holds_the_same_weights(tmp_path):
    assembly, reader = _assemble(tmp_path, *_replicas(2))
    for _ in range(3):
        assembly.train_steps["main"](reader.next("main"))
    for variable in assembly.model.trainable_variables:
        first, second = (copy.numpy() for copy in variable.value.values)
        assert first.tobytes() == second.tobytes()


def test_named_optimizers_train_their_own_variables(tmp_path):
    overrides = [
        "task.name=toy_two",
        "trainer.optimizers.left={kind: sgd, schedule: {learning_rate: 0.0}}",
        "trainer.optimizers.right.kind=sgd",
    ]
    assembly, reader = _assemble(tmp_path, *overrides)
    before = {v.path: v.numpy() for v in assembly.model.trainable_variables}
    outputs = assembly.train_steps["main"](reader.next("main"))
    right = {variable.path for variable in assembly.model.right.trainable_variables}
    moved = {
        v.path for v in assembly.model.trainable_variables if (v.numpy() != before[v.path]).any()
    }
    assert moved == right
    assert float(outputs["gradient_norm/left"]) > 0


def test_nonfinite_gradients_can_be_zeroed(tmp_path):
    overrides = ["task.nan_from_step=0", "trainer.nan_gradients=zero"]
    assembly, reader = _assemble(tmp_path, *overrides)
    before = [v.numpy() for v in assembly.model.trainable_variables]
    outputs = assembly.train_steps["main"](reader.next("main"))
    assert float(outputs["nonfinite_gradients"]) == sum(value.size for value in before)
    for variable, value in zip(assembly.model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_mixed_precision_keeps_float32_weights_and_trains(tmp_path):
    assembly, reader = _assemble(
        tmp_path, "runtime.mixed_precision=true", "runtime.jit_compile=true"
    )
    step = assembly.train_steps["main"]
    assert assembly.model.right.compute_dtype == "bfloat16"
    assert all(v.dtype == "float32" for v in assembly.model.trainable_variables)
    values = [step(reader.next("main"))["term/loss"].numpy() for _ in range(60)]
    means = [total / weight for total, weight in values]
    assert np.mean(means[-10:]) < 0.8 * np.mean(means[:10])


def test_gather_is_differentiable_and_sums_over_replicas():
    runtime = RuntimeConfig(distribution_strategy="mirrored", num_virtual_devices=2)
    strategy = distribution.build_strategy(runtime)

    @tf.function
    def run():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            value = tf.reshape(tf.range(4.0), [2, 2]) + 10.0 * tf.cast(index, tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(value)
                gathered = distribution.gather(value)
                scale = tf.cast(index, tf.float32) + 1.0
                loss = scale * tf.reduce_sum(gathered * tf.reshape(tf.range(8.0), [4, 2]))
            return gathered, tape.gradient(loss, value), distribution.gather(value > 2.0)

        return strategy.run(replica)

    gathered, gradient, flags = (strategy.experimental_local_results(value) for value in run())
    expected = [[0, 1], [2, 3], [10, 11], [12, 13]]
    np.testing.assert_array_equal(gathered[0], expected)
    np.testing.assert_array_equal(gathered[1], expected)
    # Replica r's loss weighs every row by r + 1: the summed adjoint is 3 times the row's factor.
    np.testing.assert_array_equal(gradient[0], [[0, 3], [6, 9]])
    np.testing.assert_array_equal(gradient[1], [[12, 15], [18, 21]])
    np.testing.assert_array_equal(flags[1], np.array(expected) > 2)


def test_seeds_differ_by_seed_step_and_replica():
    seeds = {
        tuple(distribution.fold_seed(seed, tf.constant(step), tf.constant(replica)).numpy())
        for seed in (0, 1, 2**40)
        for step in (0, 1, 1_000_000)
        for replica in (0, 1)
    }
    assert len(seeds) == 18
