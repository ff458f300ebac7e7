"""Warm-up requests, which a server replays before it is ready."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from export.server.requests.tensors import array_to_proto
from export.signatures.base import Arrays
from export.version import layout


def write_warmup_requests(
    version_path: str, model_name: str, examples: Mapping[str, list[Arrays]]
) -> None:
    """Writes one PredictionLog per example request.

    Args:
        version_path: directory of the SavedModel.
        model_name: name written in the requests; servers do not compare it.
        examples: requests by signature name.
    """
    folder = f"{version_path}/{layout.ASSETS_EXTRA}"
    tf.io.gfile.makedirs(folder)
    with tf.io.TFRecordWriter(f"{folder}/{layout.WARMUP_FILE}") as writer:
        for name, requests in examples.items():
            for arrays in requests:
                writer.write(_prediction_log(model_name, name, arrays).SerializeToString())


def _prediction_log(model_name: str, signature_name: str, arrays: Arrays) -> Any:
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=model_name, signature_name=signature_name),
        inputs={name: array_to_proto(array) for name, array in arrays.items()},
    )
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
