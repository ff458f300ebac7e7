"""The checks that every system's task runs through."""

import contextlib
import functools

import numpy as np
import tensorflow as tf

from trainers import distribution


def check_task(
    task, batch, *, stream, loss_rtol=1e-5, gradient_rtol=1e-4, reaches=lambda path: True
):
    """Runs all checks on one global batch of numpy arrays.

    The model must be free of dropout and token dropping, so that a loss depends on the batch
    alone; its global batch must be even. `reaches` says which weights, by path, the stream trains.
    """
    model = task.build_model()
    check_terms(task, model, batch, stream)
    check_seeds(task, model, batch, stream)
    check_compiled_equals_eager(task, model, batch, stream, loss_rtol, gradient_rtol)
    check_gradients_reach_weights(task, model, batch, stream, reaches)
    check_groups_are_disjoint(task, model)
    check_two_replicas(task, batch, stream, loss_rtol, gradient_rtol)


def loss_and_gradients(task, model, batch, stream, *, gather=tf.identity, training=True, seed=0):
    """(mean loss, gradient by path of the weights that have one, StepTerms) of one device."""
    with tf.GradientTape() as tape:
        terms = _terms(task, model, batch, stream, gather, training, seed)
        loss = terms.loss.sum / terms.loss.weight
    values = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(loss, values)
    paths = [variable.path for variable in model.trainable_variables]
    found = zip(paths, gradients, strict=True)
    return loss, {path: value for path, value in found if value is not None}, terms


def check_terms(task, model, batch, stream):
    terms = _terms(task, model, _tensors(batch), stream, tf.identity, False, 0)
    for name, term in {"loss": terms.loss, **terms.metrics}.items():
        assert np.isfinite(float(term.sum)), name
        assert float(term.weight) > 0, name
        assert term.sum.shape == () and term.weight.shape == (), name
    assert task.tokens_per_example(stream) > 0


def check_seeds(task, model, batch, stream):
    tensors = _tensors(batch)

    def loss():
        with _state_kept(model):
            return float(_terms(task, model, tensors, stream, tf.identity, True, 7).loss.sum)

    assert loss() == loss()


def check_compiled_equals_eager(task, model, batch, stream, loss_rtol, gradient_rtol):
    tensors = _tensors(batch)

    def step(inputs):
        return loss_and_gradients(task, model, inputs, stream)[:2]

    with _state_kept(model):
        eager_loss, eager = step(tensors)
    compiled_loss, compiled = tf.function(step, jit_compile=True)(tensors)
    np.testing.assert_allclose(compiled_loss, eager_loss, rtol=loss_rtol, atol=1e-6)
    _assert_gradients_close(compiled, eager, gradient_rtol)


def check_gradients_reach_weights(task, model, batch, stream, reaches=lambda path: True):
    _, gradients, _ = loss_and_gradients(task, model, _tensors(batch), stream)
    wanted = {variable.path for variable in model.trainable_variables if reaches(variable.path)}
    assert set(gradients) == wanted, f"gradients differ at {sorted(set(gradients) ^ wanted)}"
    still = [path for path, value in gradients.items() if not np.any(_dense(value))]
    assert not still, f"the gradient is zero everywhere in {still}"


def check_groups_are_disjoint(task, model):
    grouped = [v.path for group in task.variable_groups(model).values() for v in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= {v.path for v in model.trainable_variables}


def check_two_replicas(task, batch, stream, loss_rtol, gradient_rtol):
    """Loss and gradients of the same global batch, on one device and halved over two replicas."""
    strategy = _two_replicas()
    single_model = task.build_model()
    with strategy.scope():
        model = task.build_model()
    for variable, source in zip(model.variables, single_model.variables, strict=True):
        variable.assign(np.array(source))
    expected_loss, expected, _ = loss_and_gradients(task, single_model, _tensors(batch), stream)
    places = zip(model.trainable_variables, single_model.trainable_variables, strict=True)
    trained = [variable.value for variable, source in places if source.path in expected]

    def replica_step(inputs):
        with tf.GradientTape() as tape:
            terms = _terms(task, model, inputs, stream, distribution.gather, True, 0)
            context = tf.distribute.get_replica_context()
            weight = context.all_reduce(tf.distribute.ReduceOp.SUM, terms.loss.weight)
            share = terms.loss.sum / weight
        gradients = tape.gradient(share, trained)
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        total = tf.distribute.ReduceOp.SUM
        return context.all_reduce(total, share), context.all_reduce(total, gradients)

    halves = _halve(batch)
    inputs = strategy.experimental_distribute_values_from_function(
        lambda context: _tensors(halves[context.replica_id_in_sync_group])
    )
    loss, gradients = tf.function(lambda values: strategy.run(replica_step, args=(values,)))(inputs)
    first = strategy.experimental_local_results
    np.testing.assert_allclose(first(loss)[0], expected_loss, rtol=loss_rtol, atol=1e-6)
    found = {path: first(value)[0] for path, value in zip(expected, gradients, strict=True)}
    _assert_gradients_close(found, expected, gradient_rtol)


@functools.cache
def _two_replicas():
    """One strategy for all calls: a process remembers the shapes of every strategy's collectives
    by number.

    The numbers start high, away from those of strategies that other tests make.
    """
    kind = tf.distribute.MirroredStrategy
    before = kind._collective_key_base
    kind._collective_key_base = 7_000_000
    try:
        return kind(["/cpu:0", "/cpu:1"])
    finally:
        kind._collective_key_base = before


@contextlib.contextmanager
def _state_kept(model):
    """Puts running statistics back, which a training step changes."""
    before = [np.array(variable) for variable in model.non_trainable_variables]
    yield
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        variable.assign(value)


def _terms(task, model, batch, stream, gather, training, seed):
    key = tf.constant([seed, 0], tf.int32)
    outputs = task.encode(model, batch, stream=stream, training=training, seed=key)
    return task.terms(model, outputs, batch, stream=stream, training=training, gather=gather)


def _assert_gradients_close(found, expected, rtol):
    """Relative to the largest gradient of each weight, or of the model where that is near zero."""
    overall = max(np.abs(_dense(value)).max() for value in expected.values())
    for path, value in expected.items():
        largest = max(np.abs(_dense(value)).max(), 1e-3 * overall)
        difference = np.abs(_dense(found[path]) - _dense(value)).max()
        assert difference <= rtol * largest, f"{path}: {difference / largest:.2e} relative"


def _dense(value):
    return np.asarray(tf.convert_to_tensor(value))


def _tensors(batch):
    return {name: tf.constant(value) for name, value in batch.items()}


def _halve(batch):
    middle = len(next(iter(batch.values()))) // 2
    return [
        {name: value[part] for name, value in batch.items()}
        for part in (slice(None, middle), slice(middle, None))
    ]
