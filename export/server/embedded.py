"""The embedded server: TensorFlow Serving's gRPC and REST protocols in one Python process."""

import asyncio
import contextlib
import dataclasses
import logging
import threading
import time
from concurrent import futures

import grpc
from aiohttp import web
from tensorflow import make_ndarray

from export.client.protocols import GrpcClient, RestClient, join_address
from export.server.core import Core
from export.server.executor import Executor
from export.server.loaded import read_warmup_requests
from export.server.models import ModelConfig, Models
from export.server.protocols.connections import Connections, listen
from export.server.protocols.grpc_services import GrpcServices
from export.server.protocols.media import MediaPrediction
from export.server.protocols.metrics import Metrics
from export.server.protocols.ports import check_port
from export.server.protocols.receiving import Receiving
from export.server.protocols.rest import RestApplication
from export.server.requests.limits import ConnectionLimits, Limits
from mm_models.errors import UserError

logger = logging.getLogger(__name__)
# Each may hold a message of the largest size.
_MAX_SLOW_GRPC_MESSAGES = 4
_GRPC_HANDSHAKE_SECONDS = 10
# Of the grace, for closing what has finished.
_CLOSING_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Where to listen and how much to take on.

    Attributes:
        host: address to listen on.
        grpc_port, rest_port: 0 takes any free one.
        poll_seconds: between two looks for new versions; 0 looks once.
        num_graph_threads: calls of a graph at the same time.
        max_waiting: requests in the queue before RESOURCE_EXHAUSTED.
        max_grpc_calls: gRPC calls handled at the same time.
        grace_seconds: from the call of `stop` to its return; requests in flight are answered in it.
        limits: bounds of one request.
        connections: bounds of HTTP connections; the deadline of bodies holds for gRPC too.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 0
    rest_port: int = 0
    poll_seconds: float = 2.0
    num_graph_threads: int = 2
    max_waiting: int = 256
    max_grpc_calls: int = 64
    grace_seconds: float = 8.0
    limits: Limits = dataclasses.field(default_factory=Limits)
    connections: ConnectionLimits = dataclasses.field(default_factory=ConnectionLimits)


class EmbeddedServer:
    """Starts and stops everything; use as a context manager or through `start` and `stop`.

    Args:
        models: what to serve.
        config: where and how.
    """

    def __init__(self, models: list[ModelConfig], config: ServerConfig | None = None):
        self.config = config or ServerConfig()
        self._model_configs = models
        self.grpc_port = self.rest_port = 0
        self.core: Core | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def start(self) -> None:
        """Loads the models, then opens both ports.

        Raises:
            UserError: a port is taken, or a model has no version that loads.
        """
        config = self.config
        check_port(config.host, config.grpc_port, "--grpc_port")
        check_port(config.host, config.rest_port, "--rest_port")
        metrics = Metrics()
        models = Models(self._model_configs, config.limits, metrics)
        models.start(config.poll_seconds)
        if not models.ready:
            models.stop()
            raise UserError(self._why_not_ready(models))
        executor = Executor(metrics, config.num_graph_threads, config.max_waiting)
        self.core = Core(models, executor, config.limits, metrics)
        self._connections = Connections(config.connections)
        self._start_grpc()
        self._start_rest()
        self._ask_itself()

    def stop(self) -> bool:
        """Turns readiness off, refuses new requests, lets those in flight finish.

        Returns:
            Whether all of them did within the grace, so that no thread is left running.
        """
        if self.core is None:
            return True
        deadline = time.monotonic() + self.config.grace_seconds
        drained_by = deadline - min(_CLOSING_SECONDS, self.config.grace_seconds / 2)
        self.core.draining = True
        grpc_stopped = self._grpc.stop(max(drained_by - time.monotonic(), 0))
        stopping = asyncio.run_coroutine_threadsafe(
            self._stop_rest(grpc_stopped, drained_by), self._loop
        )
        with contextlib.suppress(futures.TimeoutError):
            stopping.result(_left(deadline))
        is_done = grpc_stopped.wait(_left(deadline))
        self._receiving.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._rest_thread.join(_left(deadline))
        self._media.close(_left(deadline))
        is_done &= self.core.executor.close(_left(deadline))
        # Nobody waits for a version that is still being loaded.
        is_done &= self.core.models.stop(min(_CLOSING_SECONDS, _left(deadline)))
        self.core = None
        return is_done

    async def _stop_rest(self, grpc_stopped: threading.Event, drained_by: float) -> None:
        """Closes the port when nothing is in flight by either protocol; so long it answers 503."""
        while time.monotonic() < drained_by:
            if grpc_stopped.is_set() and not self._connections.num_busy:
                break
            await asyncio.sleep(0.02)
        self._accepting.cancel()
        self._listener.close()
        await self._runner.cleanup()

    def _start_grpc(self) -> None:
        size = self.config.limits.max_body_bytes
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(self.config.max_grpc_calls, thread_name_prefix="grpc"),
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_allowed_incoming_connections", self._connections.most),
                ("grpc.server_handshake_timeout_ms", 1000 * _GRPC_HANDSHAKE_SECONDS),
            ],
            # Beyond the threads, as many again may wait for one; then RESOURCE_EXHAUSTED.
            maximum_concurrent_rpcs=2 * self.config.max_grpc_calls,
        )
        allowed = frozenset(model.base_path.rstrip("/") for model in self._model_configs)
        seconds = self.config.connections.body_seconds
        self._receiving = Receiving(seconds, _MAX_SLOW_GRPC_MESSAGES)
        services = GrpcServices(self.core, self._receiving, allowed)
        self._grpc.add_generic_rpc_handlers(services.handlers())
        address = join_address(self.config.host, self.config.grpc_port)
        try:
            self.grpc_port = self._grpc.add_insecure_port(address)
        except RuntimeError:
            self.grpc_port = 0
        if not self.grpc_port:
            raise UserError(f"--grpc_port: cannot listen on {address}; choose another port")
        self._grpc.start()

    def _start_rest(self) -> None:
        self._media = MediaPrediction(self.core)
        self._loop = asyncio.new_event_loop()
        run = self._loop.run_forever
        self._rest_thread = threading.Thread(target=run, name="rest", daemon=True)
        self._rest_thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError as error:
            self._grpc.stop(0)
            raise UserError(
                f"--rest_port={self.config.rest_port} cannot be used ({error.strerror})"
            ) from None

    async def _listen(self) -> None:
        app = RestApplication(self.core, self._media).build()
        seconds = _CLOSING_SECONDS / 4
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=seconds)
        await self._runner.setup()
        self._listener = listen(self.config.host, self.config.rest_port)
        self.rest_port = self._listener.getsockname()[1]
        accepting = self._connections.serve(self._listener, self._runner.server)
        self._accepting = asyncio.create_task(accepting)

    def _ask_itself(self) -> None:
        """One request by each protocol, so that a client's first one finds threads warm."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
            self.config.host, self.config.host
        )
        for model in self._model_configs:
            version = self.core.models.get(model.name)
            request = next(read_warmup_requests(version.path), None)
            if request is None:
                continue
            arrays = {name: make_ndarray(proto) for name, proto in request.inputs.items()}
            for kind, port in ((GrpcClient, self.grpc_port), (RestClient, self.rest_port)):
                with kind(join_address(host, port), model.name) as client:
                    client.predict(arrays, request.model_spec.signature_name)

    def _why_not_ready(self, models: Models) -> str:
        reasons = []
        for config in self._model_configs:
            states = models.states(config.name)
            errors = [f"version {number}: {s.error}" for number, s in states.items() if s.error]
            found = "; ".join(errors) or "no numbered version directory to serve"
            reasons.append(f"model {config.name!r} in {config.base_path}: {found}")
        return "; ".join(reasons) + " (see `mmstack export`)"


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
