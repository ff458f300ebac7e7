"""Both protocols against a hand-made model: numbers, formats, descriptions, errors."""

import io
import json
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.client.protocols import GrpcClient, RequestFailed, RestClient, join_address
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig
from mm_models.errors import UserError


def _jpeg(level, size=8):
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (level, level, level)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(params=["rest", "grpc"])
def client(request, rest, grpc_client):
    return rest if request.param == "rest" else grpc_client


def test_numbers(client):
    outputs = client.predict({"x": np.array([[1, 2, 3], [0, 0, 1]], np.float32)})
    np.testing.assert_allclose(outputs["y"], [322.0, 101.0])
    outputs = client.predict(
        {"a": np.array([[1, 2]], np.float32), "b": np.array([5], np.int32)}, "pair"
    )
    assert outputs["sum"].tolist() == [8.0] and outputs["double"].tolist() == [10]


def test_bytes_and_strings(client):
    outputs = client.predict({"image_bytes": object_array([_jpeg(10), _jpeg(200)])}, "jpeg")
    np.testing.assert_allclose(outputs["mean"], [10, 200], atol=2)
    texts = object_array(["né".encode(), b"b"])[None]
    outputs = client.predict({"texts": texts}, "texts")
    assert outputs["lengths"].tolist() == [[3, 1]]


def test_sixteen_bit_floats_and_the_largest_integers(client):
    halves = {"half": np.float16, "brain": tf.bfloat16.as_numpy_dtype}
    given = {name: np.array([1.5, -2.0], dtype) for name, dtype in halves.items()}
    given["wide"] = np.array([1, 2**64 - 1], np.uint64)
    answer = client.predict(given, "numbers")
    for name in halves:
        assert answer[name].astype(np.float64).tolist() == [3.0, -4.0]
    assert [int(value) for value in answer["wide"]] == [1, 2**64 - 1]
    one = {name: value[:1] for name, value in given.items()}
    with pytest.raises(RequestFailed, match="NaN|Infinity"):
        client.predict(one | {"brain": np.array([np.inf], halves["brain"])}, "numbers")


def test_values_of_half_precision_and_numbers_out_of_range(server, grpc_client):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "numbers"
    for name, value in (("half", np.float16(1.5)), ("brain", tf.bfloat16.as_numpy_dtype(1.5))):
        proto = request.inputs[name]
        proto.dtype = tf.as_dtype(value.dtype).as_datatype_enum
        proto.tensor_shape.dim.add(size=1)
        proto.half_val.append(int(value.view(np.uint16)))
    wide = request.inputs["wide"]
    wide.CopyFrom(tf.make_tensor_proto(np.array([5], np.uint64)))
    wide.tensor_content, wide.uint64_val[:] = b"", [2**64 - 1]
    outputs = grpc_client._call(grpc_client._prediction.Predict, request).outputs
    assert [float(tf.make_ndarray(outputs[name])[0]) for name in ("half", "brain")] == [3.0, 3.0]
    assert int(tf.make_ndarray(outputs["wide"])[0]) == 2**64 - 1
    for wrong in (2**64, -1, 2**70):
        row = {"half": 1, "brain": 1, "wide": wrong}
        body = {"signature_name": "numbers", "instances": [row, row | {"wide": 1}]}
        with pytest.raises(RequestFailed, match="'wide' holds values outside uint64"):
            _post(server, "/v1/models/tiny:predict", body)
    deep = {
        "half": 1,
        "brain": 1,
        "wide": json.loads("[" * 40 + json.dumps({"b64": ""}) + "]" * 40),
    }
    with pytest.raises(RequestFailed, match="'wide'"):
        _post(server, "/v1/models/tiny:predict", {"signature_name": "numbers", "instances": [deep]})


def test_a_signature_that_cannot_be_served_does_not_cost_the_others(client):
    with pytest.raises(RequestFailed, match="'unserved' cannot be served: .*'value' is complex64"):
        client.predict({"value": np.ones(1, np.float32)}, "unserved")


def test_signature_without_rows(client):
    assert float(client.predict({"value": np.float32(3)}, "scalar")["square"]) == 9.0


def _post(server, path, body):
    with RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as client:
        return client.request("POST", path, json.dumps(body).encode())


def test_rest_row_and_column_formats(server):
    path = "/v1/models/tiny/versions/1:predict"
    assert _post(server, path, {"instances": [[1, 0, 0], [0, 1, 0]]}) == {
        "predictions": [2.0, 11.0]
    }
    assert _post(server, path, {"instances": [{"x": [1, 0, 0]}]}) == {"predictions": [2.0]}
    assert _post(server, path, {"inputs": [[1, 0, 0]]}) == {"outputs": [2.0]}
    rows = [{"a": [1, 1], "b": 1}, {"a": [2, 2], "b": 2}]
    reply = _post(server, path, {"signature_name": "pair", "instances": rows})
    assert reply == {"predictions": [{"double": 2, "sum": 3.0}, {"double": 4, "sum": 6.0}]}


def test_bytes_outputs_are_base64_by_suffix(server):
    body = {"signature_name": "texts", "instances": [["ab", {"b64": "/w=="}]]}
    row = _post(server, "/v1/models/tiny:predict", body)["predictions"][0]
    assert row["echo_bytes"] == [{"b64": "YWI="}, {"b64": "/w=="}]
    assert row["echo"][0] == "ab" and row["lengths"] == [2, 1]


def test_descriptions(server, rest, grpc_client):
    assert rest.status()["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert grpc_client.status().model_version_status[0].state == 30
    definitions = rest.metadata()["metadata"]["signature_def"]["signature_def"]
    assert definitions["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc_client.channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signature_map)
    assert sorted(signature_map.signature_def) == sorted(definitions)
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(classification_pb2.ClassificationRequest())
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_and_metrics(server):
    import urllib.request

    base = f"http://127.0.0.1:{server.rest_port}"
    assert urllib.request.urlopen(f"{base}/healthz").status == 200
    assert urllib.request.urlopen(f"{base}/readyz").status == 200
    page = urllib.request.urlopen(f"{base}/monitoring/prometheus/metrics").read().decode()
    assert 'mmstack_model_version_available{model="tiny",version="1"} 1.0' in page
    assert 'mmstack_requests_total{code="OK"' in page


@pytest.mark.parametrize(
    ("inputs", "signature", "words"),
    [
        ({"z": np.zeros((1, 3), np.float32)}, "serving_default", ["lacks", "'x'", "float32[?, 3]"]),
        ({"x": np.zeros((1, 4), np.float32)}, "serving_default", ["'x'", "length 4 on axis 1"]),
        ({"x": np.zeros(3, np.float32)}, "serving_default", ["'x'", "rank 1"]),
        ({"x": np.zeros((0, 3), np.float32)}, "serving_default", ["'x'"]),
        ({"x": np.zeros((257, 3), np.float32)}, "serving_default", ["257 rows", "256"]),
        ({"x": np.full((1, 3), np.inf, np.float32)}, "serving_default", []),
        (
            {"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.int32)},
            "pair",
            ["axis 0", "'a': 2", "'b': 3"],
        ),
        ({"a": np.zeros((1, 2), np.float32), "b": np.zeros(1)}, "nowhere", ["no signature"]),
        ({"image_bytes": object_array([b"no image"])}, "jpeg", ["'image_bytes'", "JPEG"]),
        ({"image_bytes": object_array([_jpeg(10)[:300]])}, "jpeg", ["jpeg"]),
        ({"image_bytes": np.zeros(1, np.float32)}, "jpeg", ["'image_bytes'"]),
    ],
)
def test_bad_request_names_the_field(client, inputs, signature, words):
    with pytest.raises(RequestFailed) as error:
        client.predict(inputs, signature)
    assert error.value.status in (400, 413, "INVALID_ARGUMENT")
    for word in words:
        assert word in str(error.value)
    assert "/" not in str(error.value).replace("and/or", "")


def test_image_header_that_announces_a_huge_picture(client):
    huge = bytearray(_jpeg(10))
    start = huge.index(b"\xff\xc0")
    huge[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(RequestFailed, match="pixels"):
        client.predict({"image_bytes": object_array([bytes(huge)])}, "jpeg")


def test_unknown_model_version_and_label(server):
    address = f"127.0.0.1:{server.rest_port}"
    for path in ("/v1/models/other", "/v1/models/tiny/versions/7", "/v1/models/tiny/labels/x"):
        with (
            pytest.raises(RequestFailed) as error,
            RestClient(address, "tiny") as client,
        ):
            client.request("POST", f"{path}:predict", b'{"instances": [[1, 2, 3]]}')
        assert error.value.status == 404


def test_the_port_of_the_other_protocol_is_told(server):
    x = {"x": np.zeros((1, 3), np.float32)}
    with (
        RestClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client,
        pytest.raises(UserError, match="no HTTP server; give the REST port, or --protocol=grpc"),
    ):
        client.predict(x)
    with (
        GrpcClient(f"127.0.0.1:{server.rest_port}", "tiny") as client,
        pytest.raises(UserError, match="no gRPC server; give the gRPC port, or --protocol=rest"),
    ):
        client.predict(x)


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_hosts_of_ipv6_and_names(tiny_path, host):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    asked = {"::": "127.0.0.1"}.get(host, host)
    config = ServerConfig(host=host, poll_seconds=0)
    with EmbeddedServer([ModelConfig("tiny", str(tiny_path))], config) as server:
        for kind, port in ((RestClient, server.rest_port), (GrpcClient, server.grpc_port)):
            with kind(join_address(asked, port), "tiny") as client:
                assert client.predict({"x": np.zeros((1, 3), np.float32)})["y"].tolist() == [1.0]


def test_nobody_listens():
    with pytest.raises(UserError, match="nothing answers"):
        RestClient("127.0.0.1:1", "tiny").status()
