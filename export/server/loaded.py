"""One version of a model in memory."""

import dataclasses
import pathlib
import threading
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from export.server.decoded_inputs import DecodedInputs
from export.server.requests.errors import Code, RequestError, graph_error_sentence, invalid
from export.server.requests.limits import Limits
from export.server.requests.signature import FieldSpec, Signature, with_filled_rows
from export.server.requests.tensors import NUMPY_DTYPES, array_from_proto, dtype_name
from export.version import layout, op_policy
from export.version.batching_parameters import BatchingParameters
from mm_models.errors import UserError

MAX_WARMUP_RECORDS = 1000
# What the contents of a request can cause; anything else is the server's fault.
_REQUEST_FAULTS = (
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.FailedPreconditionError,
)


class LoadedVersion:
    """A SavedModel ready to answer.

    Args:
        model_name: name in requests.
        number: version.
        path: version directory.

    Raises:
        UserError: when the directory is no SavedModel, holds refused operations or has no
            signature.
    """

    def __init__(self, model_name: str, number: int, path: str):
        self.model_name, self.number, self.path = model_name, number, path
        started = time.monotonic()
        proto = read_saved_model(path)
        op_policy.import_libraries(op_policy.check_ops(proto, path))
        graph = _serving_graph(proto)
        self.signature_def_map = _signature_defs(graph)
        self.batching = _read_batching(path)
        sizes = self.batching.allowed_batch_sizes if self.batching is not None else ()
        self.signatures: dict[str, Signature] = {}
        self._unserved: dict[str, str] = {}
        decoded = DecodedInputs(graph)
        for name, definition in self.signature_def_map.signature_def.items():
            try:
                signature = _signature(name, definition, decoded)
            except UserError as error:
                self._unserved[name] = str(error)
            else:
                self.signatures[name] = with_filled_rows(signature, sizes)
        if not self.signatures:
            reason = "; ".join(self._unserved.values()) or "the SavedModel has no signature"
            raise UserError(f"{path}: {reason}")
        self._loaded = tf.saved_model.load(path)
        self._functions = dict(self._loaded.signatures)
        self._in_flight = 0
        self._lock = threading.Lock()
        self.load_seconds = time.monotonic() - started

    def signature(self, name: str) -> Signature:
        """The signature, `serving_default` for an empty name. Raises RequestError."""
        name = name or layout.DEFAULT_SIGNATURE
        if name in self._unserved:
            raise invalid(self._unserved[name])
        if name not in self.signatures:
            raise invalid(
                f"model {self.model_name!r} version {self.number} has no signature {name[:80]!r}; "
                f"it has {sorted(self.signatures)}"
            )
        return self.signatures[name]

    def run(self, signature: Signature, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls the graph on checked arrays.

        Raises:
            RequestError: INVALID_ARGUMENT when the contents make the graph fail.
        """
        tensors = {
            name: tf.constant(signature.fill(array), signature.inputs[name].dtype_name)
            for name, array in arrays.items()
        }
        try:
            outputs = self._functions[signature.name](**tensors)
            answers = {name: output.numpy() for name, output in outputs.items()}
        except _REQUEST_FAULTS as error:
            sentence = graph_error_sentence(error.message)
            raise invalid(f"signature {signature.name!r}: {sentence}") from error
        except tf.errors.ResourceExhaustedError as error:
            raise RequestError(
                Code.QUEUE_FULL, "not enough memory for this request; send fewer rows"
            ) from error
        if not signature.filled_rows:
            return answers
        num_rows = len(next(iter(arrays.values())))
        return {name: answer[:num_rows] for name, answer in answers.items()}

    def warm(self, limits: Limits) -> int:
        """Replays the warm-up requests and returns how many there were. Raises RequestError."""
        count = 0
        for request in read_warmup_requests(self.path):
            signature = self.signature(request.model_spec.signature_name)
            signature.check_names(request.inputs)
            arrays = {
                name: array_from_proto(proto, signature.inputs[name], limits)
                for name, proto in request.inputs.items()
            }
            self.run(signature, arrays)
            count += 1
        return count

    def begin(self) -> None:
        """Counts a request in."""
        with self._lock:
            self._in_flight += 1

    def end(self) -> None:
        """Counts a request out."""
        with self._lock:
            self._in_flight -= 1

    @property
    def in_flight(self) -> int:
        """Requests accepted and not yet answered."""
        return self._in_flight


def read_saved_model(path: str) -> saved_model_pb2.SavedModel:
    """Parses `saved_model.pb`. Raises UserError."""
    file = f"{path}/saved_model.pb"
    try:
        with tf.io.gfile.GFile(file, "rb") as stream:
            return saved_model_pb2.SavedModel.FromString(stream.read())
    except tf.errors.OpError:
        raise UserError(f"{file} cannot be read: is {path} an exported model?") from None
    except Exception as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}): export again") from error


def read_warmup_requests(path: str):
    """Yields the PredictRequests of a version's warm-up file; none when there is no file."""
    file = f"{path}/{layout.ASSETS_EXTRA}/{layout.WARMUP_FILE}"
    if not tf.io.gfile.exists(file):
        return
    for record in tf.data.TFRecordDataset(file).take(MAX_WARMUP_RECORDS).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            yield log.predict_log.request


def _read_batching(path: str) -> BatchingParameters | None:
    file = f"{path}/{layout.BATCHING_FILE}"
    if not tf.io.gfile.exists(file):
        return None
    with tf.io.gfile.GFile(file) as stream:
        return BatchingParameters.from_text(stream.read(), file)


def _serving_graph(proto: saved_model_pb2.SavedModel) -> meta_graph_pb2.MetaGraphDef:
    """The graph with the tag `serve`; an empty one where there is none."""
    serving = [graph for graph in proto.meta_graphs if "serve" in graph.meta_info_def.tags]
    return serving[0] if serving else meta_graph_pb2.MetaGraphDef()


def _signature_defs(graph: meta_graph_pb2.MetaGraphDef) -> get_model_metadata_pb2.SignatureDefMap:
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in graph.signature_def.items():
        if not name.startswith("__"):
            definitions.signature_def[name].CopyFrom(definition)
    return definitions


def _signature(
    name: str, definition: meta_graph_pb2.SignatureDef, decoded: DecodedInputs
) -> Signature:
    """Raises UserError for a field of a dtype that no request can hold."""
    inputs = {
        key: dataclasses.replace(
            _field(name, key, info), holds_pictures=decoded.holds_pictures(info)
        )
        for key, info in sorted(definition.inputs.items())
    }
    outputs = {key: _field(name, key, info) for key, info in sorted(definition.outputs.items())}
    return Signature(name, inputs, outputs)


def _field(signature_name: str, name: str, info: meta_graph_pb2.TensorInfo) -> FieldSpec:
    if info.dtype not in NUMPY_DTYPES:
        raise UserError(
            f"signature {signature_name!r} cannot be served: its field {name!r} is "
            f"{dtype_name(info.dtype)}; cast it in the graph to one of "
            f"{', '.join(sorted(map(dtype_name, NUMPY_DTYPES)))}"
        )
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim)
    return FieldSpec(name, NUMPY_DTYPES[info.dtype], dtype_name(info.dtype), shape)


def model_name_of(path: str) -> str:
    """Default model name of a base path: its last component."""
    return pathlib.PurePosixPath(path.rstrip("/")).name or "model"
