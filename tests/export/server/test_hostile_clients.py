"""Whole attacks on a server process that may open few files; good clients never notice."""

import contextlib
import http.client
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from export.client.protocols import GrpcClient, RequestFailed, RestClient
from export.client.string_arrays import object_array
from tests.export.server.test_pictures import _huge
from tests.export.server.test_server_malformed import _PATHS, _bad_body, _bad_message

NUM_MALFORMED = 5000
MAX_GROWTH_BYTES = 100e6
HALF_HEADER = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


class _Server:
    """A process with 200 file descriptors, its memory, its log, and a client that keeps asking."""

    def __init__(self, export_dir, log_path):
        self.log_path = log_path
        words = [sys.executable, "-m", "mmstack", "serve", f"--export_dir={export_dir}"]
        words += ["--embedded", "--grpc_port=0", "--rest_port=0"]
        self._log = log_path.open("w")
        self.process = subprocess.Popen(
            ["sh", "-c", 'ulimit -n 200 && exec "$0" "$@"', *words],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        found = re.search(r"gRPC (\S+), REST http://([^/]+)/", self.process.stdout.readline())
        self.grpc_address, self.rest_address = found.groups()
        self.rest_port = int(self.rest_address.rpartition(":")[2])
        self.seconds, self.failures, self.peak_bytes = [], [], 0
        self._stopped = threading.Event()
        for _ in range(20):
            self._ask()
        self.start_bytes = self.memory_bytes()
        self._threads = [threading.Thread(target=work) for work in (self._keep_asking, self._watch)]
        for thread in self._threads:
            thread.start()

    def memory_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def num_log_lines(self):
        return len(self.log_path.read_text().splitlines())

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._log.close()
        return code, time.monotonic() - started

    def _ask(self):
        """A good request by each protocol, on connections of their own."""
        for kind, address in ((RestClient, self.rest_address), (GrpcClient, self.grpc_address)):
            started = time.monotonic()
            try:
                with kind(address, "tiny", timeout_seconds=20) as client:
                    answer = client.predict({"x": np.array([[1, 2, 3]], np.float32)})
                assert answer["y"].tolist() == [322.0]
            except Exception as error:
                self.failures.append(f"{kind.__name__}: {error}")
            self.seconds.append(time.monotonic() - started)

    def _keep_asking(self):
        while not self._stopped.wait(0.1):
            self._ask()

    def _watch(self):
        while not self._stopped.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, self.memory_bytes())


@pytest.mark.slow
def test_hostile_clients(tiny_path, tmp_path, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = _Server(tiny_path, tmp_path / "log")
    report = []
    try:
        for attack in (
            _malformed_rest,
            _malformed_grpc,
            _bombs,
            _half_headers,
            _half_bodies,
            _announced_bodies,
            _half_messages,
        ):
            before, lines, num_asked = time.monotonic(), server.num_log_lines(), len(server.seconds)
            server.peak_bytes = 0
            told = attack(server)
            asked = server.seconds[num_asked:]
            report.append(
                f"{attack.__name__}: {told}; {time.monotonic() - before:.1f} s, memory at most "
                f"{(server.peak_bytes - server.start_bytes) / 1e6:+.0f} MB, "
                f"{server.num_log_lines() - lines} log lines, {len(asked)} good requests, the "
                f"slowest {max(asked, default=0):.2f} s"
            )
            assert server.peak_bytes - server.start_bytes < MAX_GROWTH_BYTES, report
            assert server.num_log_lines() - lines < 1500, report
    finally:
        code, seconds = server.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        growth = (server.peak_bytes - server.start_bytes) / 1e6
        with capsys.disabled():
            print("", *report, f"end: {seconds:.1f} s, {growth:+.0f} MB", sep="\n")
    assert server.failures == []
    assert code == 0 and seconds < 10
    assert "Traceback" not in server.log_path.read_text()


def _malformed_rest(server):
    rng = np.random.default_rng(11)
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    statuses = {}
    for _ in range(NUM_MALFORMED):
        connection.request("POST", _PATHS[rng.integers(len(_PATHS))], _bad_body(rng))
        response = connection.getresponse()
        text = response.read()
        assert 400 <= response.status < 500 and b"error" in text and b"Traceback" not in text, text
        statuses[response.status] = statuses.get(response.status, 0) + 1
    return f"{NUM_MALFORMED} requests, {statuses}"


def _malformed_grpc(server):
    rng = np.random.default_rng(12)
    codes = {}
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(PREDICT)
        for _ in range(NUM_MALFORMED):
            with pytest.raises(grpc.RpcError) as error:
                call(_bad_message(rng), timeout=30)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT, error.value
            codes[error.value.code().name] = codes.get(error.value.code().name, 0) + 1
    return f"{NUM_MALFORMED} requests, {codes}"


def _bombs(server):
    files, refused = _huge(), 0
    clients = (RestClient(server.rest_address, "tiny"), GrpcClient(server.grpc_address, "tiny"))
    for client in clients:
        with client:
            for encoded in [*(object_array([file]) for file in files), object_array(files)]:
                with pytest.raises(RequestFailed, match="pixels"):
                    client.predict({"image_bytes": encoded}, "jpeg")
                refused += 1
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "texts"
    request.inputs["texts"].dtype = 7
    request.inputs["texts"].string_val.append(b"x" * 1000)
    for length in (1, 50_000_000):
        request.inputs["texts"].tensor_shape.dim.add(size=length)
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=30)
    return f"{refused + 1} refused"


def _connect(server):
    return socket.create_connection(("127.0.0.1", server.rest_port), timeout=60)


def _sent(server, count, data):
    """Connections that have sent as much of `data` as the server took, without ever closing."""
    peers = []
    for _ in range(count):
        peer = _connect(server)
        with contextlib.suppress(ConnectionError):
            peer.sendall(data)
        peers.append(peer)
    return peers


def _answers(peers):
    """How many got which status; `closed` without one."""
    counts = {}
    for peer in peers:
        with peer, contextlib.suppress(ConnectionError):
            reply = peer.recv(65536)
            status = int(reply.split(b" ")[1]) if reply else "closed"
            counts[status] = counts.get(status, 0) + 1
            continue
        counts["closed"] = counts.get("closed", 0) + 1
    return counts


def _half_headers(server):
    started = time.monotonic()
    counts = _answers(_sent(server, 1000, HALF_HEADER))
    assert time.monotonic() - started < 30
    assert set(counts) <= {408, "closed"} and counts[408] > 900, counts
    return f"1000 connections, {counts}"


def _half_bodies(server):
    header = HALF_HEADER + b"Length: 30000000\r\n\r\n"
    counts = _answers(_sent(server, 30, header + b"x" * 18_000_000))
    assert set(counts) <= {408, 429, "closed"}, counts
    return f"30 bodies of 18 MB of 30, {counts}"


def _announced_bodies(server):
    started = time.monotonic()
    counts = _answers(_sent(server, 30, HALF_HEADER + b"Length: 1073741824\r\n\r\n"))
    assert counts == {413: 30} and time.monotonic() - started < 5, counts
    return f"30 announcements of 1 GiB, {counts}"


def _half_messages(server):
    ended = threading.Event()

    def never():
        ended.wait(60)
        yield from ()

    codes = {}
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.stream_unary(PREDICT)
        pending = [call.future(never()) for _ in range(30)]
        for future in pending:
            assert future.exception(timeout=60) is not None
            codes[future.code().name] = codes.get(future.code().name, 0) + 1
        ended.set()
    return f"30 calls without a message, {codes}"
