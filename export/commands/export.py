"""`mmstack export`: a checkpoint as a numbered SavedModel version, proven in a fresh process."""

import argparse
import os

from export.version.batching_parameters import BatchingParameters
from export.version.options import ExportOptions, add_run_arguments, decoding_fields
from mm_models.checks import check_at_least, check_positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add_run_arguments(parser)
    parser.add_argument("--output", required=True, help="folder of numbered versions")
    parser.add_argument("--version", type=int, default=None, help="default: the next number")
    parser.add_argument("--name", default="", help="model name; default: the output folder's")
    parser.add_argument(
        "--max_batch_size", type=int, default=32, help="rows a server may merge into one call"
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=0,
        help="rows of every call, as accelerators and --jit_compile want it; default: any number",
    )
    parser.add_argument(
        "--jit_compile",
        action="store_true",
        help="compile the loop that writes a text with XLA; needs --batch_size, and a server with "
        "XLA (tensorflow_model_server --xla_cpu_compilation_enabled)",
    )
    parser.add_argument(
        "--no_ema", action="store_true", help="plain weights even where the run keeps averages"
    )


def run(args: argparse.Namespace) -> int:
    """Exports and prints the comparison with the checkpoint."""
    if args.frame_rate_hz is not None:
        check_positive(args.frame_rate_hz, "--frame_rate_hz")
    check_at_least(args.max_batch_size, 1, "--max_batch_size")
    check_at_least(args.batch_size, 0, "--batch_size")
    options = ExportOptions(
        args.batch_size, args.jit_compile, decoding_fields(args.decoding), args.encoder
    )
    from export.server.loaded import model_name_of
    from export.signatures.build import build_signatures
    from export.version import saved_model, validate
    from trainers import runs

    output = args.output if "://" in args.output else os.path.abspath(args.output)
    runs.find_checkpoint(args.model_dir, args.checkpoint)
    saved_model.check_target(output, args.version)
    loaded = runs.load_run(args.model_dir, args.checkpoint, use_ema=not args.no_ema)
    signatures = build_signatures(loaded, args.frame_rate_hz, args.checkpoint, options)
    mixed, rows = loaded.config.runtime.mixed_precision, args.batch_size or args.max_batch_size
    exported = saved_model.export_version(
        signatures,
        output,
        name=args.name or model_name_of(output),
        version=args.version,
        batching=BatchingParameters(rows, allowed_batch_sizes=(rows,) if args.batch_size else ()),
        tolerance=validate.BFLOAT16_TOLERANCE if mixed else validate.TOLERANCE,
    )
    size = f"{exported.size_bytes / 2**20:.1f} MiB"
    print(f"wrote {exported.path} ({size}, step {exported.info.step})")
    print(f"signatures: {', '.join(exported.info.signatures)}")
    libraries = ", ".join(exported.info.op_libraries) or "none"
    if exported.info.custom_ops:
        libraries += f", for {', '.join(exported.info.custom_ops)}"
    print(f"operation libraries a server needs beyond TensorFlow: {libraries}")
    print("a fresh process without this code differs from the checkpoint by at most")
    print(exported.proof.table())
    print(f"largest difference: {exported.proof.largest:.2e}")
    return 0
