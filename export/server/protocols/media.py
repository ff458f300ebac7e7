"""Media files posted to the embedded server: isolated decoding, then the signatures."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from export.client import answers, media_requests
from export.client.questions import question_for
from export.server.core import Core, deadline_error
from export.server.loaded import LoadedVersion
from export.server.requests.errors import invalid
from export.server.requests.json_answers import json_text
from export.version.model_info import ModelInfo, read_model_info
from mm_models.errors import UserError

DECODE_TIMEOUT_SECONDS = 20.0
MAX_TEXTS = 256


class MediaPrediction:
    """Owns one decoding child, started at the first posted file, and the thread that waits for it.

    Files are decoded one after the other. One that waits counts in the queue of the graph, with its
    bound, and has the deadline of every request.
    """

    def __init__(self, core: Core):
        self._core = core
        self._decoder: Any = None
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="media")

    def submit(
        self, version: LoadedVersion, media: bytes | bytearray, asked: Mapping[str, Any]
    ) -> "Future[str]":
        """Queues a media file; the future yields the JSON text of what `predict` returns.

        Raises:
            RequestError: too much waits, or the server shuts down.
        """
        deadline = time.monotonic() + self._core.limits.timeout_seconds
        waiting = contextlib.ExitStack()
        waiting.enter_context(self._core.waiting_media())

        def answer() -> str:
            waiting.close()
            reply = self.predict(version, media, asked, deadline)
            return json_text(reply, self._core.limits)

        future = self._thread.submit(answer)
        future.add_done_callback(lambda _: waiting.close())
        return future

    def predict(
        self,
        version: LoadedVersion,
        media: bytes | bytearray,
        asked: Mapping[str, Any],
        deadline: float,
    ) -> dict[str, Any]:
        """What the model answers about a media file.

        Args:
            version: the model, exported with `model_info.json`.
            media: a whole media file.
            asked: arguments of `export.client.questions.question_for`.
            deadline: `time.monotonic()` after which nobody waits for the answer.

        Returns:
            `outputs`: values of the one row by `<signature>.<output>`; `files` by name, in base64;
            `signatures` that were asked, with the kinds of their outputs; `warnings` of the
            decoder; `prompt` as the model read it.

        Raises:
            RequestError: for media that cannot be decoded, with the pipeline's reject code, and for
                words that the model does not take, and past the deadline.
        """
        if time.monotonic() >= deadline:
            raise deadline_error()
        count = max(len(asked["texts"]), len(asked["labels"]))
        if count > MAX_TEXTS:
            raise invalid(f"{count} texts given, the limit is {MAX_TEXTS}")
        try:
            info = read_model_info(version.path)
        except UserError as error:
            raise invalid(f"model {version.model_name!r} takes no media files: {error}") from None
        try:
            question = question_for(info, **asked)
            clip = self._decode(media, info)
            requests = media_requests.requests_for(clip, question, info.signatures)
        except UserError as error:
            # What is a flag of a command is a parameter of the request here.
            raise invalid(str(error).replace("--", "")) from None
        rows = self._run(version, requests, deadline)
        answered = answers.collect(info.signatures, rows, clip.frames_jpeg or ())
        asked = {"warnings": list(clip.warnings), "prompt": question.prompt}
        return answers.to_reply(answered) | asked

    def close(self, timeout_seconds: float) -> None:
        """Ends the child; what waits is not answered, nor what is not decoded by then."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        is_free = self._lock.acquire(timeout=timeout_seconds)
        if self._decoder is not None:
            self._decoder.__exit__(None, None, None)
            self._decoder = None
        if is_free:
            self._lock.release()

    def _decode(self, media: bytes | bytearray, info: ModelInfo) -> media_requests.Clip:
        with tempfile.NamedTemporaryFile(prefix="mmstack-media-") as file, self._lock:
            file.write(media)
            file.flush()
            if self._decoder is None:
                self._decoder = media_requests.isolated_decoder(DECODE_TIMEOUT_SECONDS)
                self._decoder.__enter__()
            try:
                return media_requests.decode(
                    file.name, info, self._core.limits.max_media_seconds, self._decoder
                )
            except UserError as error:
                raise invalid(str(error).replace(file.name, "the posted file")) from None

    def _run(
        self,
        version: LoadedVersion,
        requests: Mapping[str, Mapping[str, np.ndarray]],
        deadline: float,
    ) -> dict[str, dict[str, np.ndarray]]:
        """One row of every output by signature."""
        rows = {}
        for signature_name, arrays in requests.items():
            seconds = deadline - time.monotonic()
            _, future = self._core.submit(
                version, signature_name, lambda _, sent=arrays: sent, seconds
            )
            outputs = self._core.wait(future, seconds)
            rows[signature_name] = {name: array[0] for name, array in outputs.items()}
        return rows


def question_arguments(query: Any) -> dict[str, Any]:
    """Arguments of `question_for` from the parameters of a request.

    Args:
        query: multidict with any of `text` and `label`, repeated, and of `prompt`, `phrase`,
            `language` and `seed`.

    Raises:
        RequestError: a seed that is no whole number.
    """
    seed = query.get("seed", "0")
    if not seed.removeprefix("-").isdecimal():
        raise invalid(f"seed is {seed[:80]!r}; give a whole number")
    return {
        "texts": query.getall("text", []),
        "labels": query.getall("label", []),
        "prompt": query.get("prompt", ""),
        "phrase": query.get("phrase"),
        "language": query.get("language", ""),
        "seed": int(seed),
    }
