"""PaLI's whole step: on two replicas, in bfloat16, compiled."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.pali.model import PaliModel
from tests.mm_models.text.pieces import write_model
from tests.trainers.tasks.pali.pali_parts import parts_of
from tests.trainers.tasks.pali.test_pali import make_batch, make_task
from trainers import distribution
from trainers.config.schema import RuntimeConfig
from trainers.loop.steps.step import TrainStep


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")


def tensors(batch):
    return {name: tf.constant(value) for name, value in batch.items()}


def two_steps(parts, batch):
    step = TrainStep("pictures", parts, accumulation_steps=1)
    return [{name: np.array(value) for name, value in step(batch).items()} for _ in range(2)]


@pytest.mark.slow
def test_two_replicas_train_as_one(vocabulary):
    """Loss and update follow the tokens of the global batch, of which the halves have unequally
    many."""
    task, batch = make_task(vocabulary), make_batch()
    batch["video_mask"][:3] = 0.0
    one = parts_of(task, groups={})
    expected = two_steps(one, tensors(batch))
    runtime = RuntimeConfig(distribution_strategy="mirrored", num_virtual_devices=2)
    strategy = distribution.build_strategy(runtime)
    two = parts_of(task, groups={}, strategy=strategy)
    halves = [{name: value[start:][:4] for name, value in batch.items()} for start in (0, 4)]
    counts = [(half["targets"] > 0)[half["video_mask"] > 0].sum() for half in halves]
    assert counts[0] != counts[1]
    given = strategy.experimental_distribute_values_from_function(
        lambda context: tensors(halves[context.replica_id_in_sync_group])
    )
    found = two_steps(two, given)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert theirs["term/loss"][1] == sum(counts)
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    for ours, theirs in zip(two.model.variables, one.model.variables, strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), atol=1e-4)


@pytest.mark.slow
def test_the_step_in_bfloat16_compiles_and_sums_in_float32(vocabulary):
    parts = parts_of(make_task(vocabulary), mixed=True, jit=True)
    first, second = two_steps(parts, tensors(make_batch()))
    losses = [one["term/loss"][0] / one["term/loss"][1] for one in (first, second)]
    assert np.isfinite(losses).all() and losses[1] < losses[0]
    assert {variable.dtype for variable in parts.model.weights} == {"float32"}
    step = TrainStep("pictures", parts, accumulation_steps=1)
    graph = tf.function(step.local_gradients).get_concrete_function(tensors(make_batch())).graph
    kinds = {}
    for operation in graph.get_operations():
        for tensor in operation.outputs[:1]:
            kinds.setdefault(operation.type, set()).add(tensor.dtype)
    assert tf.bfloat16 in kinds["MatMul"] | kinds.get("BatchMatMulV2", set()) | kinds["Einsum"]
    for name in ("Softmax", "Rsqrt", "SparseSoftmaxCrossEntropyWithLogits", "Log"):
        assert kinds.get(name, {tf.float32}) == {tf.float32}, name
    assert "Softmax" in kinds and "Rsqrt" in kinds


def test_float16_is_refused(vocabulary):
    with pytest.raises(UserError, match="float16, in which the values of T5 overflow"):
        PaliModel(make_task(vocabulary).config.model, dtype="mixed_float16")
