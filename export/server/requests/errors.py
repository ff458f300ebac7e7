"""What goes wrong with a request, in the terms of both protocols."""

import enum
import re


class Code(enum.Enum):
    """Error kinds: (gRPC status name, HTTP status, number in `tensorflow.error.Code`)."""

    INVALID_ARGUMENT = ("INVALID_ARGUMENT", 400, 3)
    TOO_LARGE = ("INVALID_ARGUMENT", 413, 3)
    TIMEOUT = ("DEADLINE_EXCEEDED", 408, 4)
    NOT_FOUND = ("NOT_FOUND", 404, 5)
    QUEUE_FULL = ("RESOURCE_EXHAUSTED", 429, 8)
    DEADLINE_EXCEEDED = ("DEADLINE_EXCEEDED", 504, 4)
    UNIMPLEMENTED = ("UNIMPLEMENTED", 501, 12)
    UNAVAILABLE = ("UNAVAILABLE", 503, 14)
    INTERNAL = ("INTERNAL", 500, 13)

    def __init__(self, grpc_name: str, http_status: int, number: int):
        self.grpc_name, self.http_status, self.number = grpc_name, http_status, number


class RequestError(Exception):
    """A request that gets no answer: `code`, and one sentence for the client."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestError:
    """The client's mistake, to be raised."""
    return RequestError(Code.INVALID_ARGUMENT, message)


_NOISE = re.compile(
    r"^\s*$|^Graph execution error|^Detected at node|^<stack traces|^\s*File \"|"
    r"\{\{node|\[\[|^\d+ root error"
)


def graph_error_sentence(message: str) -> str:
    """The first line of a TensorFlow error that says what was wrong with the data.

    Node names, stack traces and paths stay in the server's log.
    """
    lines = [line.strip() for line in message.splitlines() if not _NOISE.search(line)]
    sentence = lines[0] if lines else "the graph rejected the inputs"
    sentence = re.sub(r"^.*?\{\{function_node [^}]*\}\}\s*", "", sentence)
    return re.sub(r"\s*\[Op:[^\]]*\]", "", sentence)[:500]
