"""The REST API of TensorFlow Serving over the core, with health pages and metrics."""

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from export.server.core import Core, as_request_error, deadline_error
from export.server.loaded import LoadedVersion
from export.server.protocols import metrics as metrics_page
from export.server.protocols.bodies import admit, note_request, read_body, send_continue
from export.server.protocols.grpc_services import SIGNATURE_DEF, model_status
from export.server.protocols.media import MediaPrediction, question_arguments
from export.server.requests import json_answers, json_tensors
from export.server.requests.errors import Code, RequestError, invalid

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Larger bodies are parsed in a thread, so that they do not hold up other connections.
_PARSE_IN_LOOP_BYTES = 256 * 1024
_SERIALIZE_IN_LOOP_BYTES = 16 * 1024
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
        app = web.Application(middlewares=[note_request])
        post = functools.partial(app.router.add_post, expect_handler=self._expect)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/monitoring/prometheus/metrics", self._metrics)
        for choice in _CHOICES:
            base = _MODEL + choice
            app.router.add_get(base, self._guarded("status", self._status))
            app.router.add_get(f"{base}/metadata", self._guarded("metadata", self._metadata))
            post(f"{base}:predict", self._guarded("predict", self._predict))
            post(f"{base}:predict_media", self._guarded("predict_media", self._predict_media))
            post(f"{base}:{{verb}}", self._guarded("other", self._refuse))
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

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        try:
            admit(request, self._core)
            await send_continue(request)
        except RequestError as error:
            return _error_response(error, request)
        return None

    async def _predict(self, request: web.Request) -> web.Response:
        version = self._version(request)
        body = await read_body(request, self._core)
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
        serialize = functools.partial(
            json_answers.answer_text, outputs, signature, self._core.limits, rows=rows
        )
        if json_answers.num_answer_bytes(outputs) <= _SERIALIZE_IN_LOOP_BYTES:
            return _json_response(serialize())
        return _json_response(await asyncio.to_thread(serialize))

    def _decode_and_submit(self, version: LoadedVersion, body: bytearray):
        parsed = json_tensors.parse_body(body, self._core.limits)
        decode = functools.partial(json_tensors.arrays_from_request, parsed)
        signature, future = self._core.submit(version, parsed.get("signature_name", ""), decode)
        return "instances" in parsed, signature, future

    async def _predict_media(self, request: web.Request) -> web.Response:
        version = self._version(request)
        asked = question_arguments(request.query)
        body = await read_body(request, self._core)
        future = self._media.submit(version, body, asked)
        seconds = self._core.limits.timeout_seconds
        try:
            return _json_response(await asyncio.wait_for(asyncio.wrap_future(future), seconds))
        except TimeoutError:
            raise deadline_error() from None

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
        return _json_response(json.dumps(status))

    async def _metadata(self, request: web.Request) -> web.Response:
        version = self._version(request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        definitions.CopyFrom(version.signature_def_map)
        spec = {"name": version.model_name, "version": str(version.number), "signature_name": ""}
        fields = json_format.MessageToDict(definitions, preserving_proto_field_name=True)
        described = {"model_spec": spec, "metadata": {SIGNATURE_DEF: fields}}
        return _json_response(json.dumps(described))

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
                if request.method == "POST":
                    admit(request, self._core)
                return await handler(request)
            except Exception as exception:
                error = _from_http(exception) or as_request_error(exception)
                code = error.code.name
                return _error_response(error, request)
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


def _from_http(exception: Exception) -> RequestError | None:
    if isinstance(exception, (web.RequestPayloadError, ConnectionResetError)):
        return invalid("the body ended early")
    if isinstance(exception, web.HTTPException) and exception.status < 500:
        return invalid(exception.reason)
    return None


def _error_response(error: RequestError, request: web.Request) -> web.Response:
    response = _json_response(json.dumps({"error": str(error)}), error.code.http_status)
    if error.code in (Code.QUEUE_FULL, Code.UNAVAILABLE):
        response.headers["Retry-After"] = "1"
    if error.code is Code.UNAVAILABLE or not request.content.at_eof():
        response.force_close()
    return response


def _json_response(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
