"""`mmstack serve`: exported models over gRPC and REST."""

import argparse
import os
import shutil
import signal
import sys
import threading
from typing import Any

from export.version import layout
from mm_models.checks import check_at_least, check_positive
from mm_models.errors import UserError

# Flags that TensorFlow Serving has nothing like: the default and what it is for.
EMBEDDED_FLAGS: dict[str, tuple[Any, str]] = {
    "max_waiting": (256, "requests in the queue, before 429"),
    "num_graph_threads": (2, "calls of a graph at the same time"),
    "max_body_mib": (64.0, "largest request"),
    "max_answer_mib": (64.0, "largest answer"),
    "max_in_flight_mib": (64.0, "bodies of all requests that are not answered yet"),
    "max_rows": (256, "rows of one request"),
    "max_elements": (64 * 2**20, "elements of all inputs of one request"),
    "max_picture_pixels": (32 * 2**20, "pixels of all encoded pictures of one request"),
    "max_connections": (512, "HTTP connections, fewer where fewer files may be opened"),
    "header_timeout_seconds": (10.0, "for the header of a request to be whole, before 408"),
    "body_timeout_seconds": (30.0, "for the body of a request to be whole, before 408"),
    "grace_seconds": (8.0, "from SIGTERM to the end; what is in flight is answered in it"),
}
_LOOK_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    from export.server.tensorflow_serving import BINARY

    parser.add_argument(
        "--export_dir",
        "--model_path",
        "--model_base_path",
        dest="export_dir",
        required=True,
        help="folder of numbered versions, as `mmstack export` writes it",
    )
    parser.add_argument("--name", default="", help="model name; default: the folder's")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    any_free = "0 takes any free one"
    parser.add_argument(
        "--grpc_port", type=int, default=layout.DEFAULT_GRPC_PORT, help=f"of gRPC; {any_free}"
    )
    parser.add_argument(
        "--rest_port", type=int, default=layout.DEFAULT_REST_PORT, help=f"of REST; {any_free}"
    )
    parser.add_argument(
        "--embedded", action="store_true", help=f"even where {BINARY} is on the PATH"
    )
    parser.add_argument(
        "--poll_seconds", type=float, default=2.0, help="between looks for versions; 0 looks once"
    )
    parser.add_argument(
        "--num_latest", type=int, default=1, help="serve so many of the newest versions; 0: all"
    )
    parser.add_argument("--timeout_seconds", type=float, default=30.0, help="for one request")
    group = parser.add_argument_group("of the embedded server", f"{BINARY} has none of these")
    for flag, (default, meaning) in EMBEDDED_FLAGS.items():
        # None tells a flag that was not given from one that repeats the default.
        group.add_argument(f"--{flag}", type=type(default), help=f"{meaning} (default: {default})")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    from export.server import tensorflow_serving
    from export.server.protocols.ports import check_port

    given = [flag for flag in EMBEDDED_FLAGS if getattr(args, flag) is not None]
    for flag in set(EMBEDDED_FLAGS) - set(given):
        setattr(args, flag, EMBEDDED_FLAGS[flag][0])
    check_export_dir(args.export_dir)
    _check_numbers(args)
    binary = None if args.embedded else shutil.which(tensorflow_serving.BINARY)
    if binary:
        tensorflow_serving.check_translatable(args, given)
    check_port(args.host, args.grpc_port, "--grpc_port")
    check_port(args.host, args.rest_port, "--rest_port")
    if args.grpc_port and args.grpc_port == args.rest_port:
        raise UserError(f"--grpc_port and --rest_port are both {args.grpc_port}; they must differ")
    if binary:
        command = tensorflow_serving.serving_command(binary, args, _name(args))
        print(" ".join(command), flush=True)
        os.execv(binary, command)
    return _serve_embedded(args)


def check_export_dir(path: str) -> None:
    """Raises UserError unless a local `path` holds a numbered version; remote: not read yet."""
    if "://" in path:
        return
    if not os.path.isdir(path):
        raise UserError(f"--export_dir={path} is no folder; give the --output of `mmstack export`")
    numbers = [layout.version_number(name) for name in os.listdir(path)]
    if all(number is None for number in numbers):
        hint = ""
        if os.path.exists(os.path.join(path, "saved_model.pb")):
            hint = f"; it is itself a version: give {os.path.dirname(os.path.abspath(path))}"
        raise UserError(f"--export_dir={path} holds no numbered version{hint or '; export first'}")


def _serve_embedded(args: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    start = _Start(args)
    while not start.done.is_set() and not stop.wait(_LOOK_SECONDS):
        pass
    if not start.done.is_set():
        print("stopped before a model was loaded", flush=True)
        _leave()
    server = start.server()
    stop.wait()
    print("shutting down", flush=True)
    if not server.stop():
        print("some requests were not answered in time and are given up", flush=True)
        _leave()
    return 0


class _Start:
    """Imports, loads and listens in a thread, so that a signal is heard meanwhile."""

    def __init__(self, args: argparse.Namespace):
        self._args, self.done = args, threading.Event()
        self._server: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="start", daemon=True).start()

    def server(self):
        """The server, once it is done. Raises what starting it raised."""
        if self._error is not None:
            raise self._error
        return self._server

    def _run(self) -> None:
        try:
            self._server = _started_server(self._args)
        except BaseException as error:
            self._error = error
        self.done.set()


def _started_server(args: argparse.Namespace):
    import logging

    from export.client.protocols import join_address
    from export.server.embedded import EmbeddedServer
    from export.server.models import ModelConfig

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    name = _name(args)
    models = [ModelConfig(name, args.export_dir, args.num_latest)]
    server = EmbeddedServer(models, _server_config(args))
    server.start()
    print(
        f"serving {name}: gRPC {join_address(args.host, server.grpc_port)}, "
        f"REST http://{join_address(args.host, server.rest_port)}/v1/models/{name}",
        flush=True,
    )
    return server


def _server_config(args: argparse.Namespace):
    from export.server.embedded import ServerConfig
    from export.server.requests.limits import ConnectionLimits, Limits

    return ServerConfig(
        host=args.host,
        grpc_port=args.grpc_port,
        rest_port=args.rest_port,
        poll_seconds=args.poll_seconds,
        num_graph_threads=args.num_graph_threads,
        max_waiting=args.max_waiting,
        grace_seconds=args.grace_seconds,
        limits=Limits(
            max_body_bytes=int(args.max_body_mib * 2**20),
            max_answer_bytes=int(args.max_answer_mib * 2**20),
            max_rows=args.max_rows,
            max_elements=args.max_elements,
            max_picture_pixels=args.max_picture_pixels,
            timeout_seconds=args.timeout_seconds,
        ),
        connections=ConnectionLimits(
            max_connections=args.max_connections,
            max_in_flight_bytes=int(args.max_in_flight_mib * 2**20),
            header_seconds=args.header_timeout_seconds,
            body_seconds=args.body_timeout_seconds,
            answer_seconds=args.timeout_seconds,
        ),
    )


def _leave() -> None:
    """Ends the process though threads of it run on, in the graph or the loader."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _check_numbers(args: argparse.Namespace) -> None:
    for flag, (default, _) in EMBEDDED_FLAGS.items():
        if flag != "grace_seconds":
            check = check_positive if isinstance(default, float) else _check_count
            check(getattr(args, flag), f"--{flag}")
    check_positive(args.timeout_seconds, "--timeout_seconds")
    for flag in ("poll_seconds", "num_latest", "grace_seconds"):
        check_at_least(getattr(args, flag), 0, f"--{flag}")
    if args.max_in_flight_mib < args.max_body_mib:
        raise UserError(
            f"--max_in_flight_mib={args.max_in_flight_mib:g} is below --max_body_mib="
            f"{args.max_body_mib:g}, so that the largest request never fits; raise it"
        )


def _check_count(value: int, flag: str) -> None:
    check_at_least(value, 1, flag)


def _name(args: argparse.Namespace) -> str:
    name = args.name or os.path.basename(args.export_dir.rstrip("/")) or "model"
    if any(character in name for character in '/:"\\') or not name.isprintable():
        raise UserError(f'--name={name!r} must contain none of `/`, `:`, `"` and `\\`')
    return name
