"""HTTP connections with deadlines and bounds: half-sent requests must not keep good ones out."""

import asyncio
import collections
import contextlib
import enum
import json
import logging
import os
import resource
import socket

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from export.server.requests.errors import Code, RequestError
from export.server.requests.limits import ConnectionLimits

logger = logging.getLogger(__name__)
# Descriptors that are kept free for files of models and media, and for the decoder's child.
_RESERVED_DESCRIPTORS = 32
_LEAST_CONNECTIONS = 8
_BACKLOG = 512
# After an answer that came before the body: so long what still arrives is read and dropped, since a
# connection closed with bytes unread takes the answer with it.
_LINGERING_SECONDS = 2.0
_ACCEPT_RETRY_SECONDS = 0.1


class Stage(enum.Enum):
    """What a connection is doing: WAITING for a whole header, receiving a BODY, or its ANSWER is
    being made and sent."""

    WAITING = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()


class Connection(RequestHandler):
    """One connection.

    Args:
        server: of the application.
        table: of all connections.
    """

    def __init__(self, server: web.Server, table: "Connections"):
        self._table, self._loop_of = table, asyncio.get_running_loop()
        self.stage, self.held_bytes, self.remote = Stage.WAITING, 0, "?"
        self._header_timer: asyncio.TimerHandle | None = None
        self._body_deadline: asyncio.Timeout | None = None
        super().__init__(
            server,
            loop=self._loop_of,
            keepalive_timeout=table.limits.idle_seconds,
            lingering_time=_LINGERING_SECONDS,
            access_log=None,
            auto_decompress=False,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else "?"
        self._table.enter(self)
        self._start_header_timer()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_header_timer()
        self._table.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.stage is Stage.WAITING and self._header_timer is None:
            self._start_header_timer()
        super().data_received(data)

    def begin(self) -> None:
        """The header of a request is whole."""
        self._stop_header_timer()
        self._table.move(self, Stage.ANSWER)

    @contextlib.asynccontextmanager
    async def receiving(self):
        """Around the reading of a body, which ends in a RequestError TIMEOUT past the deadline."""
        self._table.move(self, Stage.BODY)
        try:
            async with asyncio.timeout(self._table.limits.body_seconds) as self._body_deadline:
                yield
        except TimeoutError:
            seconds = self._table.limits.body_seconds
            message = f"the body was not whole within {seconds:g} s, or too much waits to be whole"
            raise RequestError(Code.TIMEOUT, message) from None
        except RuntimeError:
            # So aiohttp's reader says that the connection was closed meanwhile.
            if self.transport is not None:
                raise
            raise ConnectionResetError from None
        finally:
            self._body_deadline = None
            self._table.move(self, Stage.ANSWER)

    def hold(self, num_bytes: int) -> None:
        """Counts bytes of a body, until its answer is sent. Raises RequestError QUEUE_FULL."""
        self._table.hold(self, num_bytes)

    def expire_body(self) -> None:
        """Ends the reading of the body now."""
        if self._body_deadline is not None:
            self._body_deadline.reschedule(self._loop_of.time())

    def refuse(self, status: str, sentence: str) -> None:
        """Sends an answer that belongs to no request, and closes."""
        self._stop_header_timer()
        self._table.leave(self)
        logger.warning("HTTP %s to %s: %s", status, self.remote, sentence)
        if self.transport is not None:
            self.transport.write(_raw_answer(status, sentence))
        self.force_close()

    async def finish_response(self, request, resp, start_time):
        """Sends an answer; a client that does not read it in time is cut off."""
        try:
            async with asyncio.timeout(self._table.limits.answer_seconds):
                finished = await super().finish_response(request, resp, start_time)
                # Else what nobody reads would gather here, one answer after the other.
                await request.writer.drain()
                return finished
        except ConnectionError:
            return resp, True
        except TimeoutError:
            logger.warning("HTTP answer to %s was not read in time", self.remote)
            if self.transport is not None:
                self.transport.abort()
            return resp, True
        finally:
            self._table.release(self)
            self._table.move(self, Stage.WAITING)

    def handle_error(self, request, status=500, exc=None, message=None):
        """The answer to bytes that are no HTTP: one sentence, one line of log."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        self._stop_header_timer()
        sentence = " ".join(str(message or exc).split())[:200]
        logger.warning("HTTP %d to %s: %s", status, self.remote, sentence)
        response = web.json_response({"error": f"no HTTP request: {sentence}"}, status=status)
        response.force_close()
        return response

    def _start_header_timer(self) -> None:
        seconds = self._table.limits.header_seconds
        self._header_timer = self._loop_of.call_later(seconds, self._header_is_late)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_is_late(self) -> None:
        seconds = self._table.limits.header_seconds
        self.refuse("408 Request Timeout", f"no whole header within {seconds:g} s")


class Connections:
    """All connections of a server, in the order in which they entered their stage.

    Where one too many comes, the one that has been incomplete longest makes room: clients that send
    whole requests are answered however many others do not.

    Args:
        limits: see there.
    """

    def __init__(self, limits: ConnectionLimits):
        self.limits = limits
        self._open: collections.OrderedDict[Connection, None] = collections.OrderedDict()
        self._held_bytes = 0
        # The other half of what may be opened is gRPC's.
        self.most = min(limits.max_connections, _spare_descriptors() // 2)

    async def serve(self, listener: socket.socket, server: web.Server) -> None:
        """Accepts until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError as error:
                logger.warning("no connection can be accepted: %s", error.strerror)
                self._make_room()
                await asyncio.sleep(_ACCEPT_RETRY_SECONDS)
                continue
            if len(self._open) >= self.most and not self._make_room():
                _turn_away(peer, self.most)
                continue
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(lambda: Connection(server, self), peer)

    @property
    def num_busy(self) -> int:
        """Connections whose request is not answered yet."""
        return sum(connection.stage is not Stage.WAITING for connection in self._open)

    def enter(self, connection: Connection) -> None:
        """Counts a connection."""
        self._open[connection] = None

    def leave(self, connection: Connection) -> None:
        """Counts it out."""
        self._open.pop(connection, None)
        self.release(connection)

    def move(self, connection: Connection, stage: Stage) -> None:
        """Notes what a connection does now."""
        connection.stage = stage
        if connection in self._open:
            self._open.move_to_end(connection)

    def hold(self, connection: Connection, num_bytes: int) -> None:
        """Counts bytes of a body; beyond the limit the body that is incomplete longest gives way.

        Raises:
            RequestError: QUEUE_FULL, when all that is held belongs to whole requests.
        """
        connection.held_bytes += num_bytes
        self._held_bytes += num_bytes
        while self._held_bytes > self.limits.max_in_flight_bytes:
            oldest = self._oldest(Stage.BODY)
            if oldest is None or oldest is connection:
                message = f"more than {self.limits.max_in_flight_bytes} bytes of requests wait"
                raise RequestError(Code.QUEUE_FULL, f"{message}; try again later")
            oldest.expire_body()
            self.release(oldest)
            self.move(oldest, Stage.ANSWER)

    def release(self, connection: Connection) -> None:
        """Counts the bytes of a body out."""
        self._held_bytes -= connection.held_bytes
        connection.held_bytes = 0

    def _make_room(self) -> bool:
        """Closes a connection that holds no whole request; False where there is none."""
        for stage in (Stage.WAITING, Stage.BODY):
            connection = self._oldest(stage)
            if connection is not None:
                sentence = "the request was not whole, and others wait; send it again"
                connection.refuse("408 Request Timeout", sentence)
                return True
        return False

    def _oldest(self, stage: Stage) -> Connection | None:
        return next((entry for entry in self._open if entry.stage is stage), None)


def _spare_descriptors() -> int:
    """File descriptors that this process may still open, a few kept back."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        used = _RESERVED_DESCRIPTORS
    return max(soft - used - _RESERVED_DESCRIPTORS, 2 * _LEAST_CONNECTIONS)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket of IPv4 or IPv6, `::` of both. Raises OSError."""
    family, kind, _, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=both
    )
    listener.setblocking(False)
    return listener


def _turn_away(peer: socket.socket, most: int) -> None:
    sentence = f"{most} requests are being answered; try again later"
    with peer, contextlib.suppress(OSError):
        logger.warning("HTTP 503 to %s: %s", peer.getpeername()[0], sentence)
        peer.setblocking(False)
        peer.send(_raw_answer("503 Service Unavailable", sentence))


def _raw_answer(status: str, sentence: str) -> bytes:
    body = json.dumps({"error": sentence})
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()
