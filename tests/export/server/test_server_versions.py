"""Version hand-over under load, labels and policies, broken versions, shutdown."""

import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig, Models
from export.server.protocols.metrics import Metrics
from export.server.requests.limits import Limits
from mm_models.errors import UserError
from tests.export.tiny_model import write_tiny_model


def _wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


class _Load:
    """Clients of both protocols that keep asking; remembers every answer and every failure."""

    def __init__(self, server):
        self.answers, self.failures, self._stopped = [], [], threading.Event()
        clients = [
            RestClient(f"127.0.0.1:{server.rest_port}", "tiny"),
            GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny"),
        ]
        self._threads = [threading.Thread(target=self._ask, args=(c,)) for c in clients]

    def _ask(self, client):
        with client:
            while not self._stopped.is_set():
                try:
                    outputs = client.predict({"x": np.zeros((1, 3), np.float32)})
                    self.answers.append(float(outputs["y"][0]))
                except UserError as error:
                    self.failures.append(str(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def test_hand_over_under_load_and_rollback(tmp_path):
    base_path = tmp_path / "tiny"
    base_path.mkdir()
    write_tiny_model(base_path, 1, offset=1.0)
    (base_path / ".tmp-9").mkdir()
    (base_path / "not-a-version").mkdir()
    config = ServerConfig(poll_seconds=0.05)
    with EmbeddedServer([ModelConfig("tiny", str(base_path))], config) as server:
        models = server.core.models
        with _Load(server) as load:
            for version in (2, 3):
                write_tiny_model(base_path, version, offset=float(version))
                _wait_for(lambda v=version: models.get("tiny").number == v)
                _wait_for(lambda v=version: load.answers[-1] == v)
            broken = base_path / "4"
            broken.mkdir()
            (broken / "saved_model.pb").write_bytes(b"damaged")
            _wait_for(lambda: 4 in models.states("tiny") and models.states("tiny")[4].error)
            assert models.get("tiny").number == 3
            for path in sorted(broken.iterdir()):
                path.unlink()
            broken.rmdir()
            (base_path / "3").rename(base_path / "old-3")
            _wait_for(lambda: load.answers[-1] == 2.0)
        _wait_for(lambda: models.states("tiny")[3].state == "END")
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0, 3.0}
        states = {number: state.state for number, state in models.states("tiny").items()}
        assert states == {1: "END", 2: "AVAILABLE", 3: "END", 4: "END"}


def test_request_in_flight_finishes_on_the_old_version(tmp_path):
    base_path = tmp_path / "tiny"
    base_path.mkdir()
    write_tiny_model(base_path, 1, offset=1.0)
    with (
        EmbeddedServer(
            [ModelConfig("tiny", str(base_path))], ServerConfig(poll_seconds=0)
        ) as server,
        GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client,
    ):
        results = []
        steps = np.array([4000], np.int32)
        thread = threading.Thread(
            target=lambda: results.append(client.predict({"steps": steps}, "spin"))
        )
        thread.start()
        old = server.core.models.get("tiny")
        _wait_for(lambda: old.in_flight == 1)
        write_tiny_model(base_path, 2, offset=2.0)
        server.core.models.poll()
        assert server.core.models.get("tiny").number == 2
        assert server.core.models.states("tiny")[1].state in ("UNLOADING", "END")
        thread.join()
        assert results[0]["trace"].tolist() == [128.0]
        server.core.models.poll()
        assert server.core.models.states("tiny")[1].state == "END"


def test_reload_config_sets_policy_and_labels(tmp_path):
    base_path = tmp_path / "tiny"
    base_path.mkdir()
    for version in (1, 2):
        write_tiny_model(base_path, version, offset=float(version))
    with (
        EmbeddedServer(
            [ModelConfig("tiny", str(base_path))], ServerConfig(poll_seconds=0)
        ) as server,
        GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client,
        RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as rest,
    ):
        stub = model_service_pb2_grpc.ModelServiceStub(client.channel)
        request = model_management_pb2.ReloadConfigRequest()
        entry = request.config.model_config_list.config.add(name="tiny", base_path=str(base_path))
        entry.model_version_policy.specific.versions.extend([1, 2])
        entry.version_labels["stable"] = 1
        stub.HandleReloadConfigRequest(request)
        body = b'{"instances": [[0, 0, 0]]}'
        for place, answer in (("labels/stable", 1.0), ("versions/2", 2.0), ("versions/1", 1.0)):
            reply = rest.request("POST", f"/v1/models/tiny/{place}:predict", body)
            assert reply == {"predictions": [answer]}
        entry.version_labels["canary"] = 7
        with pytest.raises(grpc.RpcError, match="canary.*not among .1, 2") as error:
            stub.HandleReloadConfigRequest(request)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert rest.request("POST", "/v1/models/tiny/labels/stable:predict", body)
        del entry.version_labels["canary"]
        entry.base_path = "/etc"
        with pytest.raises(grpc.RpcError) as error:
            stub.HandleReloadConfigRequest(request)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (ModelConfig("m", "p"), [5]),
        (ModelConfig("m", "p", num_latest=2), [5, 3]),
        (ModelConfig("m", "p", num_latest=0), [5, 3, 1]),
        (ModelConfig("m", "p", versions=(1, 4)), [1]),
    ],
)
def test_version_policies(config, wanted):
    assert config.wanted([1, 3, 5]) == wanted


def test_empty_folder_and_taken_port_are_user_errors(tmp_path, server, tiny_path):
    with pytest.raises(UserError, match="no numbered version"):
        EmbeddedServer([ModelConfig("none", str(tmp_path))]).start()
    for flag in ("grpc_port", "rest_port"):
        config = ServerConfig(**{flag: getattr(server, flag)})
        with pytest.raises(UserError, match=f"--{flag}"):
            EmbeddedServer([ModelConfig("tiny", str(tiny_path))], config).start()


def test_a_slow_upload_is_loaded_when_it_ends(tmp_path):
    base_path, uploaded = tmp_path / "m", tmp_path / "whole"
    base_path.mkdir()
    uploaded.mkdir()
    write_tiny_model(uploaded, 1, offset=1.0)
    models = Models([ModelConfig("m", str(base_path))], Limits(), Metrics())
    (base_path / "1").mkdir()
    for _ in range(6):
        models.poll()
    assert models.states("m")[1].attempts == 3
    files = [path for path in sorted((uploaded / "1").rglob("*")) if path.is_file()]
    for path in files:
        target = base_path / "1" / path.relative_to(uploaded / "1")
        target.parent.mkdir(exist_ok=True, parents=True)
        half = path.stat().st_size // 2
        target.write_bytes(path.read_bytes()[:half])
        models.poll()
        target.write_bytes(path.read_bytes())
        models.poll()
    models.poll()
    models.poll()
    assert models.get("m").number == 1
    attempts = [models.states("m")[1].attempts for _ in range(3) if models.poll() is None]
    assert attempts == [0, 0, 0]


def test_refused_operations_do_not_load(tmp_path):
    import tensorflow as tf

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def read(self, path):
            return {"text": tf.map_fn(tf.io.read_file, path)}

    module = Reader()
    tf.saved_model.save(module, str(tmp_path / "m" / "1"), {"serving_default": module.read})
    models = Models([ModelConfig("m", str(tmp_path / "m"))], Limits(), Metrics())
    models.poll()
    assert not models.ready
    assert "ReadFile" in models.states("m")[1].error


def test_stop_answers_what_is_in_flight(tiny_path):
    server = EmbeddedServer([ModelConfig("tiny", str(tiny_path))])
    server.start()
    outcomes = []

    def ask():
        with GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client:
            try:
                outcomes.append(client.predict({"steps": np.array([3000], np.int32)}, "spin"))
            except RequestFailed as error:
                outcomes.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    _wait_for(lambda: server.core.models.get("tiny").in_flight == 1)
    server.stop()
    thread.join()
    assert outcomes[0]["trace"].tolist() == [128.0]
    with pytest.raises(UserError, match="nothing answers"):
        RestClient(f"127.0.0.1:{server.rest_port}", "tiny").status()
