"""Posted media files wait in the queue of all requests; long answers leave the event loop alone."""

import base64
import dataclasses
import json
import threading
import time

import numpy as np
import pytest

from export.client import media_requests
from export.client.protocols import RequestFailed, RestClient
from export.client.string_arrays import object_array
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig
from export.server.protocols import media
from export.server.requests import json_answers
from export.server.requests.errors import RequestError
from export.server.requests.limits import Limits
from export.server.requests.signature import Signature
from tests.export.test_client_media import FRAMES, INFO, doc


@pytest.fixture(name="busy_server")
def _busy_server(tiny_path, monkeypatch):
    """A server whose decoder works until it is told to end; also the event that tells it."""
    ended = threading.Event()

    def decode(*_):
        ended.wait(20)
        return media_requests.Clip([b"frame"], None)

    info = dataclasses.replace(INFO, signatures={"serving_default": doc(FRAMES, y="embedding")})
    monkeypatch.setattr(media, "read_model_info", lambda path: info)
    monkeypatch.setattr(media.MediaPrediction, "_decode", decode)
    config = ServerConfig(max_waiting=3, limits=Limits(timeout_seconds=1.0), grace_seconds=3)
    with EmbeddedServer([ModelConfig("tiny", str(tiny_path))], config) as server:
        yield server
        ended.set()


def _post(server, statuses):
    with RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as client:
        started = time.monotonic()
        try:
            client.predict_media(b"file")
        except RequestFailed as error:
            statuses.append((error.status, time.monotonic() - started))


def test_media_files_have_the_bound_and_the_deadline_of_all_requests(busy_server):
    statuses = []
    posts = [threading.Thread(target=_post, args=(busy_server, statuses)) for _ in range(12)]
    for post in posts:
        post.start()
        time.sleep(0.02)
    started = time.monotonic()
    with RestClient(f"127.0.0.1:{busy_server.rest_port}", "tiny") as client:
        assert client.request("GET", "/v1/models/tiny")
        with pytest.raises(RequestFailed) as error:
            client.predict({"x": [[1, 2, 3]]})
        assert error.value.status == 429
    assert time.monotonic() - started < 0.5
    for post in posts:
        post.join()
    # One is being decoded and three wait, until their deadline; the others are refused at once.
    assert sorted(status for status, _ in statuses) == [429] * 8 + [504] * 4
    assert max(seconds for _, seconds in statuses) < 3
    with RestClient(f"127.0.0.1:{busy_server.rest_port}", "tiny") as client:
        assert client.predict({"x": [[1, 2, 3]]})["y"].tolist() == [322.0]


def _plain(name, array):
    if array.dtype != object:
        return np.where(np.isfinite(array), array.astype(object), None).tolist()
    encode = {True: lambda value: {"b64": base64.b64encode(value).decode()}, False: bytes.decode}
    return np.vectorize(encode[name.endswith("_bytes")], otypes=[object])(array).tolist()


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("shape", [(3,), (9000,), (5000, 3), (2, 9000), (1, 1, 3, 5000)])
@pytest.mark.parametrize("names", [["y"], ["y", "words", "words_bytes"]])
def test_answers_in_pieces_equal_answers_at_once(monkeypatch, rows, shape, names):
    sizes, dumps = [], json_answers._dumps
    monkeypatch.setattr(
        json_answers, "_dumps", lambda value: sizes.append(np.size(value)) or dumps(value)
    )
    numbers = np.random.default_rng(0).normal(size=shape)
    numbers.flat[::7] = np.nan
    words = np.array([b"ab", b"\xc3\xa9"], object)[np.arange(numbers.size) % 2].reshape(shape)
    outputs = {"y": numbers, "words": words, "words_bytes": words}
    outputs = {name: outputs[name] for name in names}
    signature = Signature("one", {}, {})
    found = json.loads(json_answers.answer_text(outputs, signature, Limits(), rows=rows))
    plain = {name: _plain(name, array) for name, array in outputs.items()}
    expected = plain["y"] if len(names) == 1 else plain
    if rows and len(names) > 1:
        expected = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    assert found == {"predictions" if rows else "outputs": expected}
    assert max(sizes) <= 4096
    small = Limits(max_answer_bytes=10)
    with pytest.raises(RequestError, match="larger than 10 bytes"):
        json_answers.answer_text(outputs, signature, small, rows=rows)


def test_long_answers_are_not_made_on_the_event_loop(server, monkeypatch):
    threads, dumps = [], json_answers._dumps
    monkeypatch.setattr(
        json_answers,
        "_dumps",
        lambda value: threads.append(threading.current_thread().name) or dumps(value),
    )
    with RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as client:
        client.predict({"texts": object_array([b"x" * 100_000])[None]}, "texts")
    assert threads and "rest" not in threads
