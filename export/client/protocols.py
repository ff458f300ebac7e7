"""Clients of a served model, for TensorFlow Serving and the embedded server alike."""

import base64
import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export.client.string_arrays import object_array
from mm_models.errors import UserError


class RequestFailed(UserError):
    """The server refused or failed a request.

    Attributes:
        status: HTTP status, or the name of the gRPC status.
    """

    def __init__(self, status: int | str, message: str):
        super().__init__(f"the server answered {status}: {message}")
        self.status = status


class RestClient(contextlib.AbstractContextManager):
    """REST over one kept connection; needs no TensorFlow. Not thread-safe.

    Args:
        address: `host:port`.
        model: model name.
        version: None takes the newest.
        timeout_seconds: for one request.
    """

    def __init__(
        self, address: str, model: str, version: int | None = None, timeout_seconds: float = 60.0
    ):
        host, port = split_address(address)
        self.address = address
        self._base = f"/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._base += f"/versions/{version}"
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def predict(
        self, inputs: Mapping[str, Any], signature_name: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Calls a signature in the column format.

        Args:
            inputs: arrays by input name; strings as `object` arrays of bytes.
            signature_name: signature.

        Returns:
            Arrays by output name. JSON has no dtypes: numbers come as float64 or int64.

        Raises:
            RequestFailed: the server's sentence.
            UserError: nothing answers at the address.
        """
        columns = {name: _to_json(np.asarray(value)) for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature_name, "inputs": columns})
        outputs = self.request("POST", f"{self._base}:predict", body.encode())["outputs"]
        if not isinstance(outputs, dict):
            outputs = dict.fromkeys(self.output_names(signature_name), outputs)
        return {name: _from_json(value) for name, value in outputs.items()}

    def predict_media(
        self,
        media: bytes,
        texts: Sequence[str] = (),
        *,
        labels: Sequence[str] = (),
        prompt: str = "",
        language: str = "",
        seed: int = 0,
        phrase: str | None = None,
    ) -> dict[str, Any]:
        """Posts a media file to the embedded server's own route; see export/client/questions.py for
        what can be asked about it. Raises as `predict`."""
        fields: list[tuple[str, Any]] = [("text", text) for text in texts]
        fields += [("label", label) for label in labels]
        single: dict[str, Any] = {"prompt": prompt, "language": language, "seed": seed}
        fields += [(name, value) for name, value in single.items() if value]
        fields += [] if phrase is None else [("phrase", phrase)]
        query = urllib.parse.urlencode(fields)
        return self.request("POST", f"{self._base}:predict_media?{query}", media)

    def output_names(self, signature_name: str) -> list[str]:
        """Sorted output names of a signature. Raises as `predict`."""
        definitions = self.metadata()["metadata"]["signature_def"]["signature_def"]
        return sorted(definitions[signature_name]["outputs"])

    def metadata(self) -> dict[str, Any]:
        """Signatures of the model. Raises as `predict`."""
        return self.request("GET", f"{self._base}/metadata")

    def status(self) -> dict[str, Any]:
        """Versions and their states. Raises as `predict`."""
        return self.request("GET", self._base)

    def request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """One exchange. Raises as `predict`."""
        was_open = self._connection.sock is not None
        try:
            response, text = self._exchange(method, path, body)
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            self._connection.close()
            if was_open:
                # A server closes what is idle for long; on a new connection it may well answer.
                return self.request(method, path, body)
            raise self._unanswered(error) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unanswered(error) from None
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = {"error": text[:200].decode(errors="replace")}
        if response.status != 200:
            raise RequestFailed(response.status, str(parsed.get("error", parsed)))
        return parsed

    def _exchange(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response, response.read()

    def _unanswered(self, error: Exception) -> UserError:
        is_foreign = isinstance(error, http.client.BadStatusLine)
        if is_foreign and not isinstance(error, http.client.RemoteDisconnected):
            return UserError(
                f"what answers at {self.address} is no HTTP server; give the REST port, or "
                "--protocol=grpc where it is the gRPC port"
            )
        return UserError(
            f"nothing answers at {self.address} ({error}); start `mmstack serve` or give --address"
        )


class GrpcClient(contextlib.AbstractContextManager):
    """gRPC PredictionService and ModelService; imports TensorFlow's protobufs. Thread-safe.

    Args:
        address: `host:port`.
        model: model name.
        version: None takes the newest.
        timeout_seconds: deadline of one request.
    """

    def __init__(
        self, address: str, model: str, version: int | None = None, timeout_seconds: float = 60.0
    ):
        import grpc
        from tensorflow import make_ndarray
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from export.server.requests.tensors import array_to_proto

        split_address(address)
        self._make_ndarray, self._array_to_proto = make_ndarray, array_to_proto
        self.address = address
        self._model, self._version, self._timeout_seconds = model, version, timeout_seconds
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()

    def predict(
        self, inputs: Mapping[str, Any], signature_name: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Calls a signature as `RestClient.predict` does; dtypes are the signature's."""
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._fill_spec(request.model_spec)
        request.model_spec.signature_name = signature_name
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(self._array_to_proto(np.asarray(value)))
        response = self._call(self._prediction.Predict, request)
        return {name: self._make_ndarray(proto) for name, proto in response.outputs.items()}

    def status(self):
        """GetModelStatusResponse. Raises as `predict`."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        self._fill_spec(request.model_spec)
        return self._call(self._models.GetModelStatus, request)

    def _fill_spec(self, spec) -> None:
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method, request):
        import grpc

        try:
            return method(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            if "http1" in error.details().lower():
                raise UserError(
                    f"what answers at {self.address} is no gRPC server; give the gRPC port, or "
                    "--protocol=rest where it is the REST port"
                ) from None
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise UserError(
                    f"nothing answers at {self.address}; start `mmstack serve` or give --address"
                ) from None
            raise RequestFailed(error.code().name, error.details()) from None


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`, of IPv6 `[host]:port`. Raises UserError."""
    host, _, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise UserError(f"--address={address!r} is not host:port, such as localhost:8501")
    if ":" in host and not is_bracketed:
        raise UserError(f"--address={address!r}: give IPv6 in brackets, such as [::1]:8501")
    return (host[1:-1] if is_bracketed else host), int(port)


def join_address(host: str, port: int) -> str:
    """The address that `split_address` splits."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _from_json(value: Any) -> np.ndarray:
    array = np.asarray(value)
    # NumPy makes floats of integers beyond int64 that stand beside others.
    if array.dtype.kind == "f" and (array >= 2.0**63).any():
        exact = np.asarray(value, object)
        if all(type(entry) is int for entry in exact.ravel()):
            return exact.astype(np.uint64)
    return array


def _to_json(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    values = [{"b64": base64.b64encode(value).decode()} for value in array.ravel()]
    return object_array(values).reshape(array.shape).tolist()
