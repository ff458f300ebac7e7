"""PredictionService and ModelService of tensorflow-serving-api over the core.

The methods take raw bytes and parse them here, so that a message that is no protobuf is the
client's INVALID_ARGUMENT and not an internal error.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from export.server.core import Core, as_request_error
from export.server.loaded import LoadedVersion
from export.server.models import ModelConfig
from export.server.protocols.receiving import Receiving
from export.server.requests.errors import Code, RequestError, invalid
from export.server.requests.json_answers import check_answer
from export.server.requests.signature import Signature
from export.server.requests.tensors import array_from_proto, array_to_proto

SIGNATURE_DEF = "signature_def"


class GrpcServices:
    """Handlers of both services.

    Args:
        core: the server.
        receiving: waits for messages.
        allowed_base_paths: folders that HandleReloadConfigRequest may name, since a model is a
            program.
    """

    def __init__(self, core: Core, receiving: Receiving, allowed_base_paths: frozenset[str]):
        self._core, self._receiving = core, receiving
        self._allowed_base_paths = allowed_base_paths

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What `grpc.Server.add_generic_rpc_handlers` takes."""
        prediction = {
            "Predict": (self.predict, predict_pb2.PredictRequest),
            "GetModelMetadata": (
                self.get_model_metadata,
                get_model_metadata_pb2.GetModelMetadataRequest,
            ),
        }
        for name in ("Classify", "Regress", "MultiInference"):
            prediction[name] = (functools.partial(_refuse, name), None)
        model = {
            "GetModelStatus": (
                lambda request, context: model_status(self._core, request.model_spec),
                get_model_status_pb2.GetModelStatusRequest,
            ),
            "HandleReloadConfigRequest": (
                self.handle_reload_config,
                model_management_pb2.ReloadConfigRequest,
            ),
        }
        return [
            self._service("tensorflow.serving.PredictionService", prediction),
            self._service("tensorflow.serving.ModelService", model),
        ]

    def predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature; `output_filter` keeps only the outputs it names."""
        version = self._version(request.model_spec)
        outputs_of = version.signature(request.model_spec.signature_name).outputs
        wanted = list(request.output_filter) or list(outputs_of)
        unknown = sorted(set(wanted) - set(outputs_of))
        if unknown:
            raise invalid(f"output_filter names {unknown[:5]}, outputs are {list(outputs_of)}")
        timeout = context.time_remaining() or math.inf
        signature, future = self._core.submit(
            version,
            request.model_spec.signature_name,
            lambda signature: self._arrays(request, signature),
            timeout,
            may_block=True,
        )
        outputs = self._core.wait(future, timeout)
        check_answer({name: outputs[name] for name in wanted}, self._core.limits)
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, version, signature.name)
        for name in wanted:
            response.outputs[name].CopyFrom(array_to_proto(outputs[name]))
        return response

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Signatures of a version."""
        unknown = [field for field in request.metadata_field if field != SIGNATURE_DEF]
        if unknown or not request.metadata_field:
            raise invalid(f"metadata_field must be [{SIGNATURE_DEF!r}], it is {unknown}")
        version = self._version(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, version, "")
        response.metadata[SIGNATURE_DEF].Pack(version.signature_def_map)
        return response

    def handle_reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces version policies and labels, or drops models; base paths must be known ones."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("only model_config_list is supported")
        configs = [self._config(entry) for entry in request.config.model_config_list.config]
        if not configs or len({config.name for config in configs}) != len(configs):
            raise invalid("model_config_list must name at least one model, each once")
        self._core.models.reconfigure(configs)
        return model_management_pb2.ReloadConfigResponse()

    def _config(self, entry) -> ModelConfig:
        base_path = entry.base_path.rstrip("/")
        if not entry.name or base_path not in self._allowed_base_paths:
            raise invalid(
                f"model {entry.name[:80]!r}: base_path is not one the server was started with"
            )
        policy = entry.model_version_policy
        choice = policy.WhichOneof("policy_choice")
        num_latest = {"all": 0, "latest": max(policy.latest.num_versions, 1)}.get(choice, 1)
        return ModelConfig(
            entry.name,
            base_path,
            num_latest,
            tuple(policy.specific.versions) if choice == "specific" else (),
            dict(entry.version_labels),
        )

    def _version(self, spec: model_pb2.ModelSpec) -> LoadedVersion:
        if not spec.name:
            raise invalid("model_spec.name is empty")
        version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        return self._core.models.get(spec.name, version, spec.version_label or None)

    def _arrays(self, request: predict_pb2.PredictRequest, signature: Signature) -> dict:
        signature.check_names(request.inputs)
        return {
            name: array_from_proto(proto, signature.inputs[name], self._core.limits)
            for name, proto in request.inputs.items()
        }

    def _service(self, name: str, methods: dict[str, tuple]) -> grpc.GenericRpcHandler:
        handlers = {
            # On the wire a stream of one message; so the call is seen before its message is whole.
            method: grpc.stream_unary_rpc_method_handler(
                self._guarded(method, handler, request_class),
                response_serializer=lambda message: message.SerializeToString(),
            )
            for method, (handler, request_class) in methods.items()
        }
        return grpc.method_handlers_generic_handler(name, handlers)

    def _guarded(self, method: str, handler: Callable, request_class: type | None) -> Callable:
        def handle(messages: Iterator[bytes], context: grpc.ServicerContext) -> Message:
            started = time.monotonic()
            error = None
            try:
                self._core.admit()
                body = self._receiving.message(messages, context)
                return handler(_parse(body, request_class), context)
            except Exception as exception:
                error = as_request_error(exception)
            finally:
                code = error.code.grpc_name if error else "OK"
                self._core.metrics.observe("grpc", method, code, time.monotonic() - started)
            return context.abort(getattr(grpc.StatusCode, error.code.grpc_name), str(error))

        return handle


def model_status(
    core: Core, spec: model_pb2.ModelSpec
) -> get_model_status_pb2.GetModelStatusResponse:
    """The status message that both protocols send. Raises RequestError."""
    if not spec.name:
        raise invalid("model_spec.name is empty")
    states = core.models.states(spec.name)
    number = None
    if spec.WhichOneof("version_choice") == "version":
        number = spec.version.value
    elif spec.version_label:
        number = core.models.get(spec.name, label=spec.version_label).number
    if number is not None and number not in states:
        raise RequestError(Code.NOT_FOUND, f"model {spec.name!r} has no version {number}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in sorted(states if number is None else [number], reverse=True):
        status = response.model_version_status.add(version=version)
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(states[version].state)
        if states[version].error:
            status.status.error_code = Code.INTERNAL.number
            status.status.error_message = "the version failed to load; see the server's log"
    return response


def _refuse(name: str, request: bytes, context: grpc.ServicerContext) -> Message:
    message = f"{name} takes tf.Example; use Predict with named tensors"
    raise RequestError(Code.UNIMPLEMENTED, message)


def _parse(body: bytes, request_class: type | None) -> Message | bytes:
    if request_class is None:
        return body
    try:
        return request_class.FromString(body)
    except DecodeError:
        raise invalid(f"message is no {request_class.DESCRIPTOR.full_name}") from None


def _fill_spec(spec: model_pb2.ModelSpec, version: LoadedVersion, signature_name: str) -> None:
    spec.name = version.model_name
    spec.version.value = version.number
    spec.signature_name = signature_name
