"""`mmstack export`: a checkpoint as a numbered SavedModel version, proven in a fresh process."""

import argparse
import os

from export.version.batching_parameters import BatchingParameters
from export.version.options import ExportOptions, add_decoding_argument, decoding_fields
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--model_dir", required=True, help="run folder of `mmstack train`")
    parser.add_argument("--output", required=True, help="folder of numbered versions")
    parser.add_argument(
        "--checkpoint", default="latest", help="`latest`, `best`, or a checkpoint's path"
    )
    parser.add_argument("--version", type=int, default=None, help="default: the next number")
    parser.add_argument("--name", default="", help="model name; default: the output folder's")
    parser.add_argument(
        "--frame_rate_hz",
        type=float,
        default=None,
        help="rate of the stored frames; default: what dataset_info.json of the records says",
    )
    parser.add_argument(
        "--max_batch_size", type=int, default=32, help="rows a server may merge into one call"
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=0,
        help="rows of every call, as accelerators and --jit_compile want it; default: any number",
    )
    add_decoding_argument(parser)
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
    if args.frame_rate_hz is not None and not args.frame_rate_hz > 0:
        raise UserError(f"--frame_rate_hz={args.frame_rate_hz:g} must be above 0")
    if args.max_batch_size < 1:
        raise UserError(f"--max_batch_size={args.max_batch_size} must be at least 1")
    if args.batch_size < 0:
        raise UserError(f"--batch_size={args.batch_size} must not be negative")
    options = ExportOptions(args.batch_size, args.jit_compile, decoding_fields(args.decoding))
    from export.server.loaded import model_name_of
    from export.signatures.build import build_signatures
    from export.version import saved_model, validate
    from trainers import runs

    output = args.output if "://" in args.output else os.path.abspath(args.output)
    runs.find_checkpoint(args.model_dir, args.checkpoint)
    saved_model.check_target(output, args.version)
    loaded = runs.load_run(args.model_dir, args.checkpoint, use_ema=not args.no_ema)
    signatures = build_signatures(loaded, args.frame_rate_hz, args.checkpoint, options)
    mixed = loaded.config.runtime.mixed_precision
    exported = saved_model.export_version(
        signatures,
        output,
        name=args.name or model_name_of(output),
        version=args.version,
        batching=_batching(args),
        tolerance=validate.BFLOAT16_TOLERANCE if mixed else validate.TOLERANCE,
    )
    print(
        f"wrote {exported.path} ({exported.size_bytes / 2**20:.1f} MiB, step {exported.info.step})"
    )
    print(f"signatures: {', '.join(exported.info.signatures)}")
    libraries = ", ".join(exported.info.op_libraries) or "none"
    print(f"operation libraries a server needs beyond TensorFlow: {libraries}")
    print(
        f"a fresh process without this code differs from the checkpoint by at most\n"
        f"{exported.proof.table()}"
    )
    print(f"largest difference: {exported.proof.largest:.2e}")
    return 0


def _batching(args: argparse.Namespace) -> BatchingParameters:
    if not args.batch_size:
        return BatchingParameters(max_batch_size=args.max_batch_size)
    return BatchingParameters(
        max_batch_size=args.batch_size, allowed_batch_sizes=(args.batch_size,)
    )
