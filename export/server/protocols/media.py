"""Media files posted to the embedded server: isolated decoding, then the signatures."""

import tempfile
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.client import answers, media_requests
from export.client.questions import question_for
from export.server.core import Core
from export.server.loaded import LoadedVersion
from export.server.requests.errors import invalid
from export.version.model_info import ModelInfo, read_model_info
from mm_models.errors import UserError

DECODE_TIMEOUT_SECONDS = 20.0
MAX_TEXTS = 256


class MediaPrediction:
    """Owns one decoding child, started at the first posted file."""

    def __init__(self, core: Core):
        self._core = core
        self._decoder: Any = None
        self._lock = threading.Lock()

    def predict(
        self, version: LoadedVersion, media: bytes, asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What the model answers about a media file.

        Args:
            version: the model, exported with `model_info.json`.
            media: a whole media file.
            asked: arguments of `export.client.questions.question_for`.

        Returns:
            `outputs`: values of the one row by `<signature>.<output>`; `files` by name, in base64;
            `signatures` that were asked, with the kinds of their outputs; `warnings` of the
            decoder; `prompt` as the model read it.

        Raises:
            RequestError: for media that cannot be decoded, with the pipeline's reject code, and for
                words that the model does not take.
        """
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
        answered = answers.collect(info.signatures, self._run(version, requests), clip.picture)
        asked = {"warnings": list(clip.warnings), "prompt": question.prompt}
        return answers.to_reply(answered) | asked

    def close(self) -> None:
        """Ends the child."""
        with self._lock:
            if self._decoder is not None:
                self._decoder.__exit__(None, None, None)
                self._decoder = None

    def _decode(self, media: bytes, info: ModelInfo) -> media_requests.Clip:
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
        self, version: LoadedVersion, requests: Mapping[str, Mapping[str, np.ndarray]]
    ) -> dict[str, dict[str, np.ndarray]]:
        """One row of every output by signature."""
        rows = {}
        for signature_name, arrays in requests.items():
            _, future = self._core.submit(version, signature_name, lambda _, sent=arrays: sent)
            outputs = self._core.wait(future)
            rows[signature_name] = {name: array[0] for name, array in outputs.items()}
        return rows


def question_arguments(query: Any) -> dict[str, Any]:
    """Arguments of `question_for` from the parameters of a request.

    Args:
        query: multidict with any of `text` and `label`, repeated, `prompt`, `language` and `seed`.

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
        "language": query.get("language", ""),
        "seed": int(seed),
    }
