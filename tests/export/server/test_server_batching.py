"""Merging requests: equal answers, isolation of bad ones, bounds, deadlines."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from export.client.protocols import GrpcClient, RequestFailed
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.executor import Executor
from export.server.loaded import LoadedVersion
from export.server.models import ModelConfig
from export.server.protocols.metrics import Metrics
from export.server.requests.errors import Code, RequestError
from export.server.requests.limits import Limits
from export.version import layout
from export.version.batching_parameters import BatchingParameters
from mm_models.errors import UserError
from tests.export.server.test_server_protocols import _jpeg


@pytest.fixture(scope="module")
def version(tiny_path):
    return LoadedVersion("tiny", 1, str(tiny_path / "1"))


def _submit(executor, version, name, arrays, seconds=30.0):
    signature = version.signature(name)
    num_rows = signature.check(arrays, Limits())
    return executor.submit(version, signature, arrays, num_rows, time.monotonic() + seconds)


def _occupied(version, steps=4000, **options):
    """An executor whose only worker is busy for a while, so that what follows has to wait."""
    executor = Executor(Metrics(), num_threads=1, **options)
    busy = _submit(executor, version, "spin", {"steps": np.array([steps], np.int32)})
    while executor.num_waiting:
        time.sleep(0.001)
    return executor, busy


def _batches(executor, signature):
    metric = executor._metrics.batch_rows.labels("tiny", signature)
    return metric._sum.get(), sum(bucket.get() for bucket in metric._buckets)


def test_waiting_requests_share_a_call_and_get_their_own_rows(version):
    executor, _ = _occupied(version)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1 + n % 3, 3)).astype(np.float32) for n in range(8)]
    futures = [_submit(executor, version, "serving_default", {"x": x}) for x in inputs]
    for x, future in zip(inputs, futures, strict=True):
        np.testing.assert_allclose(future.result(20)["y"], x @ [1, 10, 100] + 1, rtol=1e-5)
    assert _batches(executor, "serving_default") == (15, 1)
    executor.close(5)


def test_full_batches_are_not_exceeded_and_unequal_shapes_are_not_merged(version):
    executor, _ = _occupied(version)
    inputs = [np.zeros((10, 3), np.float32)] * 2
    futures = [_submit(executor, version, "serving_default", {"x": x}) for x in inputs]
    pictures = [np.full((1, size, size, 3), size, np.uint8) for size in (2, 3, 2)]
    futures += [_submit(executor, version, "pixels", {"pixels": p}) for p in pictures]
    values = [future.result(20) for future in futures]
    assert [float(value["mean"][0]) for value in values[2:]] == [2.0, 3.0, 2.0]
    assert _batches(executor, "serving_default") == (20, 2)
    assert _batches(executor, "pixels") == (3, 2)
    executor.close(5)


def test_a_bad_request_does_not_fail_its_neighbours(version):
    executor, _ = _occupied(version)
    images = [_jpeg(10), _jpeg(50)[:300], _jpeg(90)]
    futures = [
        _submit(executor, version, "jpeg", {"image_bytes": object_array([image])})
        for image in images
    ]
    np.testing.assert_allclose(futures[0].result(20)["mean"], 10, atol=2)
    np.testing.assert_allclose(futures[2].result(20)["mean"], 90, atol=2)
    with pytest.raises(RequestError) as error:
        futures[1].result(20)
    assert error.value.code is Code.INVALID_ARGUMENT
    executor.close(5)


def test_queue_is_bounded_and_deadlines_hold(version):
    executor, busy = _occupied(version, max_waiting=2)
    x = {"x": np.zeros((1, 3), np.float32)}
    late = _submit(executor, version, "serving_default", x, seconds=0.001)
    kept = _submit(executor, version, "serving_default", x)
    with pytest.raises(RequestError) as error:
        _submit(executor, version, "serving_default", x)
    assert error.value.code is Code.QUEUE_FULL
    assert not busy.done()
    assert kept.result(20)["y"].tolist() == [1.0]
    with pytest.raises(RequestError) as error:
        late.result(20)
    assert error.value.code is Code.DEADLINE_EXCEEDED
    executor.close(5)
    with pytest.raises(RequestError) as error:
        _submit(executor, version, "serving_default", x)
    assert error.value.code is Code.UNAVAILABLE
    assert version.in_flight == 0


def test_full_queue_and_timeout_over_the_wire(tiny_path):
    config = ServerConfig(
        num_graph_threads=1, max_waiting=1, limits=Limits(timeout_seconds=0.4), grace_seconds=20
    )
    models = [ModelConfig("tiny", str(tiny_path))]
    with EmbeddedServer(models, config) as server:
        statuses = []

        def ask():
            with GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client:
                try:
                    client.predict({"steps": np.array([60000], np.int32)}, "spin")
                except RequestFailed as error:
                    statuses.append(error.status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(statuses) == {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert len(statuses) == 4


def test_batching_parameters_file_round_trip():
    parameters = BatchingParameters(max_batch_size=7, batch_timeout_micros=3)
    assert BatchingParameters.from_text(parameters.to_text(), "file") == parameters
    four = BatchingParameters.from_text("max_batch_size { value: 4 }  # rows", "file")
    assert four.max_batch_size == 4
    with pytest.raises(UserError, match="unknown batching parameter 'colour'"):
        BatchingParameters.from_text("colour { value: 4 }", "file")
    with pytest.raises(UserError, match="max_batch_size"):
        BatchingParameters.from_text("max_batch_size { value: 0 }", "file")


def test_calls_of_one_size_are_filled_up(tmp_path):
    class Fixed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([3, 2], tf.float32, name="x")])
        def total(self, x):
            return {"sum": tf.reduce_sum(x, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x")])
        def vector(self, x):
            return {"largest": tf.reduce_max(x)}

    module = Fixed()
    path = tmp_path / "1"
    tf.saved_model.save(module, str(path), {"total": module.total, "vector": module.vector})
    parameters = BatchingParameters(max_batch_size=3, allowed_batch_sizes=(3,))
    (path / layout.BATCHING_FILE).write_text(parameters.to_text())
    version = LoadedVersion("fixed", 1, str(path))
    executor = Executor(Metrics(), num_threads=1)
    rows = [np.arange(2 * n, dtype=np.float32).reshape(n, 2) for n in (1, 2, 2, 3)]
    futures = [_submit(executor, version, "total", {"x": x}) for x in rows]
    for x, future in zip(rows, futures, strict=True):
        np.testing.assert_array_equal(future.result(20)["sum"], x.sum(axis=1))
    with pytest.raises(RequestError, match="4 rows, the limit is 3"):
        _submit(executor, version, "total", {"x": np.zeros([4, 2], np.float32)})
    vector = _submit(executor, version, "vector", {"x": np.array([1, 2], np.float32)})
    assert vector.result(20)["largest"] == 2.0
    assert not version.signature("vector").has_rows
    executor.close(5)


def test_sizes_of_batches_are_read_back_and_checked():
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    text = parameters.to_text()
    assert text.count("allowed_batch_sizes: ") == 2
    assert BatchingParameters.from_text(text, "file") == parameters
    for wrong in (text + "allowed_batch_sizes: 4", text.replace("value: 8", "value: 9")):
        with pytest.raises(UserError, match="allowed_batch_sizes are"):
            BatchingParameters.from_text(wrong, "file")
