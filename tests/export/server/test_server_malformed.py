"""A thousand malformed requests over both protocols: each a clear refusal, the server unharmed."""

import http.client
import json
import socket

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from export.client.protocols import GrpcClient
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig
from export.server.requests.limits import Limits

NUM_REST, NUM_GRPC = 600, 400
_SCALARS = [None, True, "text", "é", 1, -1, 3.5, 2**70, -(2**63), 1e308, {}, [], {"b64": "!"}]
_SIGNATURES = ["serving_default", "pair", "jpeg", "texts", "pixels", "scalar", "spin"]
_GOOD = {
    "serving_default": {"x": [[1, 2, 3]]},
    "pair": {"a": [[1, 2]], "b": [1]},
    "pixels": {"pixels": [[[[1, 2, 3]]]]},
}


@pytest.fixture(scope="module")
def small_server(tiny_path):
    limits = Limits(max_body_bytes=200_000, max_elements=5_000)
    models = [ModelConfig("tiny", str(tiny_path))]
    with EmbeddedServer(models, ServerConfig(limits=limits)) as server:
        yield server


def _nested(value, depth):
    return json.loads("[" * depth + json.dumps(value) + "]" * depth)


def _bad_value(rng):
    """Something that no signature of the tiny model takes, at any place."""
    kind = rng.integers(8)
    scalar = _SCALARS[rng.integers(len(_SCALARS))]
    if kind == 0:
        return scalar if not isinstance(scalar, (int, float)) or scalar is True else None
    if kind == 1:
        return _nested(scalar, int(rng.integers(6, 40)))
    if kind == 2:
        return [[1, 2, 3], [1, 2]]
    if kind == 3:
        return [[1, 2, 3, 4, 5]]
    if kind == 4:
        return [[1, 2, "three"]]
    if kind == 5:
        return [{"b64": "****"}, {"b65": ""}, {"b64": 3}][rng.integers(3)]
    if kind == 6:
        return []
    return [[[[300, -1, 2.5]]]]


def _bad_body(rng):
    kind = rng.integers(9)
    name = _SIGNATURES[rng.integers(len(_SIGNATURES))]
    if kind == 0:
        return rng.bytes(int(rng.integers(1, 300)))
    if kind == 1:
        text = json.dumps({"instances": [[1, 2, 3]] * 5}).encode()
        return text[: int(rng.integers(1, len(text) - 1))]
    if kind == 2:
        depth = int(10 ** rng.uniform(2, 4.9))
        return b'{"instances":' + b"[" * depth + b"]" * (depth if rng.integers(2) else 0) + b"}"
    if kind == 3:
        return json.dumps({"signature_name": name, "inputs": {"nobody": _bad_value(rng)}}).encode()
    if kind == 4:
        word = ["NaN", "Infinity", "-Infinity"][rng.integers(3)]
        return f'{{"instances": [[1, {word}, 3]]}}'.encode()
    if kind == 5:
        return b'{"instances": [' + b"[1,2,3]," * int(rng.integers(257, 9000)) + b"[1,2,3]]}"
    if kind == 6:
        return json.dumps(_SCALARS[rng.integers(len(_SCALARS))]).encode()
    if kind == 7:
        outer = {"instances": [[1, 2, 3]], ["inputs", "extra", "😀"][rng.integers(3)]: 1}
        return json.dumps(outer).encode()
    good = dict(_GOOD[list(_GOOD)[rng.integers(len(_GOOD))]])
    chosen = next(key for key, value in _GOOD.items() if value == good)
    good[list(good)[rng.integers(len(good))]] = _bad_value(rng)
    return json.dumps({"signature_name": chosen, "inputs": good}).encode()


_PATHS = ["/v1/models/tiny:predict"] * 8 + [
    "/v1/models/nobody:predict",
    "/v1/models/tiny/versions/99:predict",
    "/v1/models/tiny/versions/-1:predict",
    "/v1/models/tiny/labels/%00:predict",
    "/v1/models/tiny:explode",
    "/../../etc/passwd",
    "/v1/models/" + "a" * 3000 + ":predict",
]


def test_malformed_rest_requests(small_server):
    rng = np.random.default_rng(1)
    connection = http.client.HTTPConnection("127.0.0.1", small_server.rest_port, timeout=30)
    for number in range(NUM_REST):
        body = _bad_body(rng)
        path = _PATHS[rng.integers(len(_PATHS))]
        connection.request("POST", path, body)
        response = connection.getresponse()
        text = response.read()
        note = f"request {number}: {path[:60]} {body[:200]!r} → {response.status} {text[:200]!r}"
        assert 400 <= response.status < 500, note
        message = json.loads(text)["error"]
        assert 5 < len(message) < 1000 and "Traceback" not in message, note
        if number % 50 == 0:
            _assert_healthy(small_server)
    _assert_healthy(small_server)


def _bad_tensor(rng):
    proto = tensor_pb2.TensorProto(dtype=int(rng.choice([0, 1, 1, 1, 3, 4, 7, 7, 20, 999])))
    for _ in range(int(rng.integers(0, 6))):
        proto.tensor_shape.dim.add(size=int(rng.choice([-1, 0, 1, 3, 5, 10**6, 2**40])))
    if rng.integers(6) == 0:
        proto.tensor_shape.unknown_rank = True
    kind = rng.integers(4)
    if kind == 0:
        proto.tensor_content = rng.bytes(int(rng.integers(1, 40)))
    elif kind == 1:
        proto.float_val.extend([float("nan")] * int(rng.integers(1, 5)))
    elif kind == 2:
        proto.string_val.extend([b"\xff\xd8\xff"] * int(rng.integers(1, 3)))
    return proto


def _bad_message(rng):
    if rng.integers(5) == 0:
        return rng.bytes(int(rng.integers(1, 200)))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny" if rng.integers(12) else ""
    request.model_spec.signature_name = _SIGNATURES[rng.integers(len(_SIGNATURES))]
    names = ["x", "a", "b", "image_bytes", "texts", "pixels", "value", "steps", "nobody"]
    for name in rng.choice(names, int(rng.integers(0, 3)), replace=False):
        request.inputs[name].CopyFrom(_bad_tensor(rng))
    if rng.integers(2):
        request.output_filter.append("nobody")
    return request.SerializeToString()


def test_malformed_grpc_requests(small_server):
    rng = np.random.default_rng(2)
    channel = grpc.insecure_channel(f"127.0.0.1:{small_server.grpc_port}")
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    refused = 0
    for number in range(NUM_GRPC):
        body = _bad_message(rng)
        try:
            call(body, timeout=30)
        except grpc.RpcError as error:
            note = f"request {number}: {body[:200]!r} → {error.code()} {error.details()}"
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, note
            assert 5 < len(error.details()) < 1500 and "Traceback" not in error.details(), note
            refused += 1
        if number % 50 == 0:
            _assert_healthy(small_server)
    channel.close()
    assert refused == NUM_GRPC
    _assert_healthy(small_server)


def test_body_over_the_limit(small_server):
    connection = http.client.HTTPConnection("127.0.0.1", small_server.rest_port, timeout=30)
    connection.request("POST", "/v1/models/tiny:predict", b" " * 300_000)
    response = connection.getresponse()
    assert response.status == 413
    assert "encoded frames" in json.loads(response.read())["error"]
    channel = grpc.insecure_channel(f"127.0.0.1:{small_server.grpc_port}")
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as error:
        call(b"\x00" * 300_000)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    channel.close()
    _assert_healthy(small_server)


def test_raw_sockets(small_server):
    """Half requests, lies about the length, and bytes that are no HTTP."""
    for raw in (
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n{",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    ):
        with socket.create_connection(("127.0.0.1", small_server.rest_port), timeout=5) as peer:
            peer.sendall(raw)
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(2)
            try:
                reply = peer.recv(4096)
            except (TimeoutError, ConnectionResetError):
                reply = b""
        assert not reply or reply.split(b" ")[1].startswith(b"4"), reply
    _assert_healthy(small_server)


def _assert_healthy(server):
    with GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client:
        answer = client.predict({"x": np.array([[1, 2, 3]], np.float32)})
    assert answer["y"].tolist() == [322.0]
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
    for path in ("/healthz", "/readyz"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
