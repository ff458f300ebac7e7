"""`mmstack serve`: exported models over gRPC and REST."""

import argparse
import os
import pathlib
import shutil
import signal
import threading

from export.version import layout
from mm_models.checks import check_at_least, check_positive
from mm_models.errors import UserError

SERVER_BINARY = "tensorflow_model_server"
INFO_FILES = f"*/{layout.ASSETS_EXTRA}/{layout.MODEL_INFO_FILE}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
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
    parser.add_argument("--grpc_port", type=int, default=layout.DEFAULT_GRPC_PORT, help="0: any")
    parser.add_argument("--rest_port", type=int, default=layout.DEFAULT_REST_PORT, help="0: any")
    parser.add_argument(
        "--embedded", action="store_true", help=f"even where {SERVER_BINARY} is on the PATH"
    )
    parser.add_argument("--poll_seconds", type=float, default=2.0, help="look for new versions")
    parser.add_argument(
        "--num_latest", type=int, default=1, help="serve so many of the newest versions; 0: all"
    )
    parser.add_argument("--max_waiting", type=int, default=256, help="bound of the queue")
    parser.add_argument("--num_graph_threads", type=int, default=2, help="calls at the same time")
    parser.add_argument("--timeout_seconds", type=float, default=30.0, help="for one request")
    parser.add_argument("--max_body_mib", type=float, default=64.0, help="largest request")
    parser.add_argument("--max_rows", type=int, default=256, help="rows of one request")
    parser.add_argument("--max_elements", type=int, default=64 * 2**20, help="of one input")
    parser.add_argument("--grace_seconds", type=float, default=10.0, help="for shutting down")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    from export.server.protocols.ports import check_port

    check_export_dir(args.export_dir)
    _check_numbers(args)
    check_port(args.host, args.grpc_port, "--grpc_port")
    check_port(args.host, args.rest_port, "--rest_port")
    if args.grpc_port and args.grpc_port == args.rest_port:
        raise UserError(f"--grpc_port and --rest_port are both {args.grpc_port}; they must differ")
    binary = None if args.embedded else shutil.which(SERVER_BINARY)
    if binary:
        command = serving_command(binary, args, needs_xla=_needs_xla(args))
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


def serving_command(binary: str, args: argparse.Namespace, *, needs_xla: bool = False) -> list[str]:
    """The command line of TensorFlow Serving's own server, which compiles nothing on a CPU unless
    it is told to."""
    path = args.export_dir if "://" in args.export_dir else os.path.abspath(args.export_dir)
    return [
        binary,
        f"--port={args.grpc_port}",
        f"--rest_api_port={args.rest_port}",
        f"--model_name={_name(args)}",
        f"--model_base_path={path}",
        "--enable_batching=true",
        "--enable_per_model_batching_parameters=true",
        f"--file_system_poll_wait_seconds={max(1, round(args.poll_seconds))}",
        f"--rest_api_timeout_in_ms={round(args.timeout_seconds * 1000)}",
        *(["--xla_cpu_compilation_enabled=true"] if needs_xla else []),
    ]


def _needs_xla(args: argparse.Namespace) -> bool:
    """Whether a version of a local folder was exported with --jit_compile."""
    from export.version.model_info import parse_model_info

    paths = [] if "://" in args.export_dir else pathlib.Path(args.export_dir).glob(INFO_FILES)
    return any(parse_model_info(path.read_text("utf-8"), str(path)).jit_compile for path in paths)


def _serve_embedded(args: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    import logging

    from export.server.embedded import EmbeddedServer, ServerConfig
    from export.server.models import ModelConfig
    from export.server.requests.limits import Limits

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = ServerConfig(
        host=args.host,
        grpc_port=args.grpc_port,
        rest_port=args.rest_port,
        poll_seconds=args.poll_seconds,
        num_graph_threads=args.num_graph_threads,
        max_waiting=args.max_waiting,
        grace_seconds=args.grace_seconds,
        limits=Limits(
            max_body_bytes=int(args.max_body_mib * 2**20),
            max_rows=args.max_rows,
            max_elements=args.max_elements,
            timeout_seconds=args.timeout_seconds,
        ),
    )
    name = _name(args)
    with EmbeddedServer([ModelConfig(name, args.export_dir, args.num_latest)], config) as server:
        print(
            f"serving {name}: gRPC {args.host}:{server.grpc_port}, "
            f"REST http://{args.host}:{server.rest_port}/v1/models/{name}",
            flush=True,
        )
        stop.wait()
        print("shutting down", flush=True)
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    for flag in ("max_waiting", "num_graph_threads", "max_rows", "max_elements"):
        check_at_least(getattr(args, flag), 1, f"--{flag}")
    for flag in ("timeout_seconds", "max_body_mib"):
        check_positive(getattr(args, flag), f"--{flag}")
    for flag in ("poll_seconds", "num_latest", "grace_seconds"):
        check_at_least(getattr(args, flag), 0, f"--{flag}")


def _name(args: argparse.Namespace) -> str:
    name = args.name or os.path.basename(args.export_dir.rstrip("/")) or "model"
    if "/" in name or ":" in name:
        raise UserError(f"--name={name!r} must contain neither `/` nor `:`")
    return name
