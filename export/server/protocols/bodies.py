"""Admission of a request by its header, and the reading of its body within bounds."""

from aiohttp import web

from export.server.core import Core
from export.server.protocols.connections import Connection
from export.server.requests.errors import Code, RequestError, invalid


@web.middleware
async def note_request(request: web.Request, handler) -> web.StreamResponse:
    """Tells the connection that the header is whole."""
    connection_of(request).begin()
    return await handler(request)


def connection_of(request: web.Request) -> Connection:
    """The connection that a request came by."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


def admit(request: web.Request, core: Core) -> None:
    """Raises RequestError for a request that its header already rules out, or that comes while the
    server is full or shutting down."""
    core.admit()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise invalid("compressed bodies are not accepted; send the body as it is")
    length = request.content_length
    if length is not None and length > core.limits.max_body_bytes:
        raise too_large(core)


async def read_body(request: web.Request, core: Core) -> bytearray:
    """The whole body.

    Raises:
        RequestError: it is too large, too slow, cut short or empty, or too much is in flight.
    """
    connection, body = connection_of(request), bytearray()
    async with connection.receiving():
        while chunk := await request.content.readany():
            connection.hold(len(chunk))
            body += chunk
            if len(body) > core.limits.max_body_bytes:
                raise too_large(core)
    if not body:
        raise invalid("the body is empty")
    return body


async def send_continue(request: web.Request) -> None:
    """For a client that asks before it sends its body. Raises RequestError for any other wish."""
    if request.headers["Expect"].lower() != "100-continue":
        raise invalid("`Expect` knows nothing but 100-continue")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # The answer itself has not begun.
    request.writer.output_size = 0


def too_large(core: Core) -> RequestError:
    """For a body over the limit."""
    return RequestError(
        Code.TOO_LARGE,
        f"body is larger than {core.limits.max_body_bytes} bytes; "
        "send encoded frames (JPEG as b64), not pixel lists",
    )
