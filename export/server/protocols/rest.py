"""The REST API of TensorFlow Serving over the core, with health pages and metrics."""

import asyncio
import functools
import json
import math
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from export.server.core import Core, as_request_error, deadline_error
from export.server.loaded import LoadedVersion
from export.server.protocols import metrics as metrics_page
from export.server.protocols.grpc_services import SIGNATURE_DEF, model_status
from export.server.protocols.media import MediaPrediction, question_arguments
from export.server.requests import json_tensors
from export.server.requests.errors import Code, RequestError, invalid

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Larger bodies are parsed in a thread, so that they do not hold up other connections.
_PARSE_IN_LOOP_BYTES = 256 * 1024
_MODEL = r"/v1/models/{name:[^/:]+}"
_CHOICES = ("", r"/versions/{version:[^/:]+}", r"/labels/{label:[^/:]+}")


class RestApplication:
    """Routes.

    Args:
        core: the server.
        media: decodes posted media files.
    """

    def __init__(self, core: Core, media: MediaPrediction):
        self._core, self._media = core, media

    def build(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._core.limits.max_body_bytes)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/monitoring/prometheus/metrics", self._metrics)
        for choice in _CHOICES:
            base = _MODEL + choice
            app.router.add_get(base, self._guarded("status", self._status))
            app.router.add_get(f"{base}/metadata", self._guarded("metadata", self._metadata))
            app.router.add_post(f"{base}:predict", self._guarded("predict", self._predict))
            media = self._guarded("predict_media", self._predict_media)
            app.router.add_post(f"{base}:predict_media", media)
            app.router.add_post(f"{base}:{{verb}}", self._guarded("other", self._refuse))
        app.router.add_route("*", "/{path:.*}", self._guarded("other", self._nowhere))
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        ready = self._core.ready
        return web.Response(text=f"{'' if ready else 'not '}ready\n", status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._core.metrics.render(), headers={"Content-Type": metrics_page.CONTENT_TYPE}
        )

    async def _predict(self, request: web.Request) -> web.Response:
        version = self._version(request)
        body = await _read_body(request)
        decode = functools.partial(self._decode_and_submit, version, body)
        if len(body) <= _PARSE_IN_LOOP_BYTES:
            rows, signature, future = decode()
        else:
            rows, signature, future = await asyncio.to_thread(decode)
        seconds = self._core.limits.timeout_seconds
        try:
            outputs = await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise deadline_error() from None
        return _json_response(json_tensors.response_from_arrays(outputs, signature, rows=rows))

    def _decode_and_submit(self, version: LoadedVersion, body: bytes):
        parsed = json_tensors.parse_body(body, self._core.limits)
        decode = functools.partial(json_tensors.arrays_from_request, parsed)
        signature, future = self._core.submit(version, parsed.get("signature_name", ""), decode)
        return "instances" in parsed, signature, future

    async def _predict_media(self, request: web.Request) -> web.Response:
        version = self._version(request)
        body = await _read_body(request)
        asked = question_arguments(request.query)
        return _json_response(await asyncio.to_thread(self._media.predict, version, body, asked))

    async def _status(self, request: web.Request) -> web.Response:
        spec = model_pb2.ModelSpec(name=request.match_info["name"])
        version, label = _choice(request)
        if version is not None:
            spec.version.value = version
        elif label:
            spec.version_label = label
        found = model_status(self._core, spec)
        status = json_format.MessageToDict(found, preserving_proto_field_name=True)
        for entry in status.get("model_version_status", ()):
            none = {"error_code": "OK", "error_message": ""}
            entry["status"] = none | entry.get("status", {})
        return _json_response(status)

    async def _metadata(self, request: web.Request) -> web.Response:
        version = self._version(request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        definitions.CopyFrom(version.signature_def_map)
        spec = {"name": version.model_name, "version": str(version.number), "signature_name": ""}
        fields = json_format.MessageToDict(definitions, preserving_proto_field_name=True)
        return _json_response({"model_spec": spec, "metadata": {SIGNATURE_DEF: fields}})

    async def _refuse(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        if verb in ("classify", "regress"):
            raise RequestError(
                Code.UNIMPLEMENTED, f":{verb} takes tf.Example; use :predict with named tensors"
            )
        raise RequestError(Code.NOT_FOUND, f"no method {verb[:80]!r}; use :predict")

    async def _nowhere(self, request: web.Request) -> web.Response:
        raise RequestError(
            Code.NOT_FOUND,
            f"nothing answers {request.method} here; "
            "predictions are POST /v1/models/<name>[/versions/<number>]:predict",
        )

    def _version(self, request: web.Request) -> LoadedVersion:
        version, label = _choice(request)
        return self._core.models.get(request.match_info["name"], version, label)

    def _guarded(self, method: str, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            started = time.monotonic()
            code = "OK"
            try:
                return await handler(request)
            except Exception as exception:
                error = _from_http(exception, self._core) or as_request_error(exception)
                code = error.code.name
                return _error_response(error)
            finally:
                self._core.metrics.observe("rest", method, code, time.monotonic() - started)

        return handle


def _choice(request: web.Request) -> tuple[int | None, str | None]:
    version = request.match_info.get("version")
    if version is None:
        return None, request.match_info.get("label")
    if not (version.isascii() and version.isdecimal() and len(version) <= 18):
        raise invalid(f"version {version[:80]!r} is not a number")
    return int(version), None


async def _read_body(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise invalid("compressed bodies are not accepted; send the body as it is")
    body = await request.read()
    if not body:
        raise invalid("the body is empty")
    return body


def _from_http(exception: Exception, core: Core) -> RequestError | None:
    if isinstance(exception, web.HTTPRequestEntityTooLarge):
        return RequestError(
            Code.TOO_LARGE,
            f"body is larger than {core.limits.max_body_bytes} bytes; "
            "send encoded frames (JPEG as b64), not pixel lists",
        )
    if isinstance(exception, (web.RequestPayloadError, ConnectionResetError)):
        return invalid("the body ended early")
    if isinstance(exception, web.HTTPException) and exception.status < 500:
        return invalid(exception.reason)
    return None


def _error_response(error: RequestError) -> web.Response:
    response = _json_response({"error": str(error)}, error.code.http_status)
    if error.code in (Code.QUEUE_FULL, Code.UNAVAILABLE):
        response.headers["Retry-After"] = "1"
    return response


def _json_response(value: dict, status: int = 200) -> web.Response:
    # Non-finite outputs have no JSON form; null says so instead of breaking the client's parser.
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_non_finite(value))
    return web.Response(text=text, status=status, content_type="application/json")


def _without_non_finite(value):
    if isinstance(value, dict):
        return {key: _without_non_finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_non_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
