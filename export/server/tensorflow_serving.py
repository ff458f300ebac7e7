"""The command line of TensorFlow Serving's own server for the flags of `mmstack serve`."""

import argparse
import os
import pathlib
import tempfile
from collections.abc import Sequence

from export.version import layout
from mm_models.errors import UserError

BINARY = "tensorflow_model_server"
INFO_FILES = f"*/{layout.ASSETS_EXTRA}/{layout.MODEL_INFO_FILE}"
METRICS_PATH = "/monitoring/prometheus/metrics"
_EVERY_ADDRESS = ("0.0.0.0", "::", "")
_MODELS_FILE = """model_config_list {{
  config {{
    name: "{name}"
    base_path: "{path}"
    model_platform: "tensorflow"
    model_version_policy {{ {policy} }}
  }}
}}
"""
_MONITORING_FILE = f'prometheus_config {{ enable: true, path: "{METRICS_PATH}" }}\n'


def check_translatable(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Raises UserError for a flag whose wish TensorFlow Serving cannot be told.

    Args:
        args: of `mmstack serve`.
        given: names of those flags that were given and that only the embedded server has.
    """
    remedy = "use --embedded for the server that can"
    if given:
        flags = ", ".join(f"--{name}" for name in given)
        raise UserError(f"{BINARY} has nothing like {flags}; leave it out, or {remedy}")
    if args.host not in _EVERY_ADDRESS:
        raise UserError(
            f"{BINARY} listens on every address of the machine, not on {args.host} alone; give "
            f"--host=0.0.0.0 to have that, or {remedy}"
        )
    for flag in ("grpc_port", "rest_port"):
        if getattr(args, flag) == 0:
            raise UserError(
                f"--{flag}=0 takes any free port, which {BINARY} cannot; give a number, or {remedy}"
            )
    if args.poll_seconds != int(args.poll_seconds):
        raise UserError(
            f"--poll_seconds={args.poll_seconds:g}: {BINARY} looks at whole seconds; give such, or "
            f"{remedy}"
        )


def serving_command(binary: str, args: argparse.Namespace, name: str) -> list[str]:
    """The command line.

    Two files that it names are written to a temporary folder, which stays, since the server reads
    them for as long as it runs. What the exports are made for is told too: merging of requests
    where every version's inner axes are fixed, since TensorFlow Serving merges no others, and XLA
    where a version is compiled, which it leaves off on a CPU.
    """
    path = args.export_dir if "://" in args.export_dir else os.path.abspath(args.export_dir)
    latest = f"latest {{ num_versions: {args.num_latest} }}" if args.num_latest else "all { }"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mmstack-serve-"))
    models, monitoring = folder / "models.config", folder / "monitoring.config"
    models.write_text(_MODELS_FILE.format(name=name, path=_quoted(path), policy=latest), "utf-8")
    monitoring.write_text(_MONITORING_FILE, "utf-8")
    infos = _infos(args.export_dir)
    merges = bool(infos) and all(info.has_fixed_inner_axes for info in infos)
    return [
        binary,
        f"--port={args.grpc_port}",
        f"--rest_api_port={args.rest_port}",
        f"--model_config_file={models}",
        f"--monitoring_config_file={monitoring}",
        f"--file_system_poll_wait_seconds={int(args.poll_seconds)}",
        f"--rest_api_timeout_in_ms={round(args.timeout_seconds * 1000)}",
        *(layout.SERVING_BATCHING_FLAGS if merges else []),
        *(["--xla_cpu_compilation_enabled=true"] if any(i.jit_compile for i in infos) else []),
    ]


def _infos(export_dir: str) -> list:
    """Facts of all versions of a local folder; of a remote one, which is not read, none."""
    from export.version.model_info import parse_model_info

    paths = [] if "://" in export_dir else sorted(pathlib.Path(export_dir).glob(INFO_FILES))
    return [parse_model_info(path.read_text("utf-8"), str(path)) for path in paths]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
