"""Half-sent, slow, huge and malformed requests are refused early, and keep no good one out."""

import contextlib
import http.client
import json
import logging
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig
from export.server.requests.limits import ConnectionLimits, Limits

CONNECTIONS = ConnectionLimits(
    max_connections=20,
    max_in_flight_bytes=1_000_000,
    header_seconds=1.0,
    body_seconds=1.0,
    answer_seconds=1.0,
)
LIMITS = Limits(max_body_bytes=600_000, max_answer_bytes=1_100_000)
HALF_HEADER = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-"


@pytest.fixture(scope="module")
def strict_server(tiny_path):
    config = ServerConfig(limits=LIMITS, connections=CONNECTIONS, max_grpc_calls=16)
    with EmbeddedServer([ModelConfig("tiny", str(tiny_path))], config) as server:
        yield server


def _header(length, *more):
    lines = ("POST /v1/models/tiny:predict HTTP/1.1", "Host: a", f"Content-Length: {length}")
    return "\r\n".join([*lines, *more, "", ""]).encode()


def _connect(server):
    return socket.create_connection(("127.0.0.1", server.rest_port), timeout=10)


def _send(server, data):
    peer = _connect(server)
    # A server that has refused already may have closed.
    with contextlib.suppress(ConnectionError):
        peer.sendall(data)
    return peer


def _status(peer):
    """Of the answer, 0 for none: the connection was closed."""
    try:
        reply = peer.recv(65536)
    except ConnectionResetError:
        return 0
    return int(reply.split(b" ")[1]) if reply else 0


def _ask(server, seconds=3.0):
    """A good request on a connection of its own, answered soon."""
    started = time.monotonic()
    with RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as client:
        assert client.predict({"x": np.array([[1, 2, 3]])})["y"].tolist() == [322.0]
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize(
    "sent",
    [HALF_HEADER, b"", _header(500_000) + b"x" * 300_000, _header(500_000) + b"{"],
    ids=["half headers", "nothing", "half bodies", "bodies hardly begun"],
)
def test_incomplete_requests_end_and_keep_nobody_out(strict_server, sent, caplog):
    caplog.set_level(logging.WARNING)
    started = time.monotonic()
    peers = [_send(strict_server, sent) for _ in range(60)]
    for _ in range(5):
        _ask(strict_server)
    assert strict_server._connections._held_bytes <= CONNECTIONS.max_in_flight_bytes
    statuses = [_status(peer) for peer in peers]
    assert time.monotonic() - started < 8
    assert set(statuses) <= {408, 429, 0} and statuses.count(0) < 60
    _wait_until_empty(strict_server)
    assert len(caplog.records) <= 60 and not any(record.exc_info for record in caplog.records)
    for peer in peers:
        peer.close()


def _wait_until_empty(server):
    deadline = time.monotonic() + 5
    while server._connections.num_busy or server._connections._held_bytes:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)])
def test_a_body_over_the_limit_is_refused_by_its_header(strict_server, more):
    started = time.monotonic()
    with _send(strict_server, _header(2**30, *more)) as peer:
        assert _status(peer) == 413
    assert time.monotonic() - started < 0.5


def test_a_client_that_waits_for_continue_is_told_to(strict_server):
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    with _send(strict_server, _header(len(body), "Expect: 100-continue")) as peer:
        assert _status(peer) == 100
        peer.sendall(body)
        assert _status(peer) == 200
    with _send(strict_server, _header(len(body), "Expect: wonders")) as peer:
        assert _status(peer) == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        _header(-5),
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        _header(5, *(f"H{n}: v" for n in range(500))),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0" * 100 + b"\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_get_a_sentence_and_a_line(strict_server, sent, caplog):
    caplog.set_level(logging.WARNING)
    with _send(strict_server, sent) as peer:
        reply = peer.recv(65536)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert 400 <= int(head.split(b" ")[1]) < 500
    assert 5 < len(json.loads(body)["error"]) < 500
    assert len(caplog.records) <= 1 and not any(record.exc_info for record in caplog.records)


def test_chunked_bodies_are_counted(strict_server):
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    header = (
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with _send(strict_server, header + 8 * chunk) as peer:
        assert _status(peer) == 413
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    with _send(strict_server, header + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)) as peer:
        assert _status(peer) == 200


def test_connections_are_kept_and_requests_may_follow_at_once(strict_server):
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    with _send(strict_server, 3 * (_header(len(body)) + body)) as peer:
        received = b""
        while received.count(b"322.0") < 3:
            received += peer.recv(65536)
        # Longer than the deadline of a header: between requests there is none.
        time.sleep(CONNECTIONS.header_seconds + 0.3)
        peer.sendall(_header(len(body)) + body)
        assert _status(peer) == 200


def test_half_sent_grpc_messages_keep_nobody_out(strict_server):
    address, ended = f"127.0.0.1:{strict_server.grpc_port}", threading.Event()

    def never():
        ended.wait(30)
        yield from ()

    with grpc.insecure_channel(address) as channel:
        call = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        pending = [call.future(never()) for _ in range(40)]
        started = time.monotonic()
        with GrpcClient(address, "tiny", timeout_seconds=5) as client:
            while True:
                try:
                    client.predict({"x": np.zeros((1, 3), np.float32)})
                    break
                except RequestFailed as error:
                    assert error.status == "RESOURCE_EXHAUSTED"
                    assert time.monotonic() - started < 3
        for future in pending:
            assert future.exception(timeout=10) is not None
        ended.set()
    codes = {future.code() for future in pending}
    assert codes <= {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def _echo(num_characters):
    body = {"signature_name": "texts", "instances": [["x" * num_characters]]}
    return json.dumps(body).encode()


def test_an_answer_that_nobody_reads_is_cut_off(strict_server, caplog):
    caplog.set_level(logging.WARNING)
    text = _echo(450_000)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", strict_server.rest_port))
    with contextlib.suppress(ConnectionError):
        peer.settimeout(10)
        peer.sendall(12 * (_header(len(text)) + text))
    deadline = time.monotonic() + 5
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.05)
    peer.close()
    _wait_until_empty(strict_server)
    assert [record.getMessage() for record in caplog.records] == [
        "HTTP answer to 127.0.0.1 was not read in time"
    ]


def test_answers_have_a_limit(strict_server):
    connection = http.client.HTTPConnection("127.0.0.1", strict_server.rest_port, timeout=10)
    for num_characters, status in ((450_000, 200), (590_000, 413)):
        connection.request("POST", "/v1/models/tiny:predict", _echo(num_characters))
        response = connection.getresponse()
        text = response.read()
        assert response.status == status
    assert "the answer is larger than" in json.loads(text)["error"]
    texts = object_array([b"x" * 590_000])[None]
    with (
        GrpcClient(f"127.0.0.1:{strict_server.grpc_port}", "tiny") as client,
        pytest.raises(RequestFailed, match="the answer is larger than"),
    ):
        client.predict({"texts": texts}, "texts")
