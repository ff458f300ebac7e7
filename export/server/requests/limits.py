"""How much one request may ask for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from taking the server down.

    Attributes:
        max_body_bytes: HTTP body or gRPC message.
        max_elements: elements of all input tensors of one request.
        max_rows: rows (axis 0) of one request.
        max_nesting_depth: JSON brackets open at once.
        max_string_bytes: one string or bytes value.
        max_picture_pixels: height times width times frames that the headers of all encoded pictures
            of one request announce together.
        max_media_seconds: length of a media file posted for prediction.
        timeout_seconds: waiting plus running, where the client gives no deadline.
        max_answer_bytes: an answer, as JSON text or as tensors.
        allow_non_finite: let NaN and infinity through to the graph.
    """

    max_body_bytes: int = 64 * 2**20
    max_elements: int = 64 * 2**20
    max_rows: int = 256
    max_nesting_depth: int = 64
    max_string_bytes: int = 32 * 2**20
    max_picture_pixels: int = 32 * 2**20
    max_media_seconds: float = 120.0
    timeout_seconds: float = 30.0
    max_answer_bytes: int = 64 * 2**20
    allow_non_finite: bool = False


@dataclasses.dataclass(frozen=True)
class ConnectionLimits:
    """Bounds on HTTP connections, whatever is sent over them.

    Attributes:
        max_connections: open at once; fewer where the process may not open so many files.
        max_in_flight_bytes: bodies of all requests, from their first byte to their answer.
        header_seconds: from the first byte of a request, or the opening of a connection, to the end
            of the header.
        body_seconds: from there to the end of the body.
        answer_seconds: for the client to read its answer.
        idle_seconds: between two requests.
    """

    max_connections: int = 512
    max_in_flight_bytes: int = 64 * 2**20
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    answer_seconds: float = 30.0
    idle_seconds: float = 75.0
