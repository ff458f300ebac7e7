"""`mmstack convert`: weights of public forms into a run folder, and a run's back."""

import argparse
import re

from mm_models import checks
from mm_models.errors import UserError
from trainers import registry

# Flags of each direction, and those that only the other one has.
_NEEDED = {"source": ("checkpoint", "config_file"), "target": ("output",)}
_FOREIGN = {
    "source": ("output", "no_ema", "dtype", "shard_size"),
    "target": ("config_file", "set"),
}
_DTYPES = ("float32", "float16", "bfloat16")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    formats = registry.weight_formats()
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--from",
        dest="source",
        choices=formats,
        help="what every --checkpoint must be; left out, that is found out",
    )
    direction.add_argument(
        "--to", dest="target", choices=formats, help="form in which to write the run's weights"
    )
    parser.add_argument(
        "--model_dir", required=True, help="run folder: made from checkpoints, or read by --to"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        help="public weights (a file, a folder, or the common part of a TensorFlow checkpoint's "
        "names); repeat it for a model of several parts. With --to: `latest`, `best` or a "
        "checkpoint's path (default latest)",
    )
    parser.add_argument(
        "--config_file",
        action="append",
        default=[],
        help="experiment of the run to make; `task:` with its model is enough",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override one setting of it"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="regular expression for keys that may be missing or left over, and with --to for "
        "weights of the model that may be left out; `.` allows all",
    )
    parser.add_argument("--output", default="", help="what to write (--to)")
    parser.add_argument(
        "--dtype", choices=_DTYPES, help="type in which weights are written (--to; default: theirs)"
    )
    parser.add_argument(
        "--shard_size",
        default="",
        help="most bytes of one file, such as 500MB, of a format that writes several (--to; "
        "default 5GB)",
    )
    parser.add_argument(
        "--no_ema", action="store_true", help="plain weights even where the run keeps them (--to)"
    )


def run(args: argparse.Namespace) -> int:
    """Converts in the asked direction and prints what became of the weights."""
    _check_flags(args)
    if args.target:
        return _write(args)
    return _read(args)


def _check_flags(args: argparse.Namespace) -> None:
    """Raises UserError for a flag that is missing, or that belongs to the other direction."""
    given = "target" if args.target else "source"
    direction = "--to" if args.target else "an import"
    missing = [f"--{name}" for name in _NEEDED[given] if not getattr(args, name)]
    if missing:
        raise UserError(f"{direction} needs {' and '.join(missing)}")
    foreign = [f"--{name}" for name in _FOREIGN[given] if getattr(args, name)]
    if foreign:
        raise UserError(f"{' and '.join(foreign)} mean nothing to {direction}; leave them out")
    for pattern in args.allow:
        checks.check_pattern(pattern, "--allow")
    if args.target and len(args.checkpoint) > 1:
        raise UserError("--to writes the weights of one --checkpoint; leave the others out")


def _read(args: argparse.Namespace) -> int:
    from trainers import conversion
    from trainers.config.loading import load_config

    config = load_config(args.config_file, args.set, trains=False)
    converted = conversion.import_run(
        config, args.checkpoint, args.model_dir, args.allow, args.source or ""
    )
    print(converted)
    uses = "eval, predict, export, and to start from" if config.streams else "starting from"
    print(f"wrote {converted.checkpoint}; it is for {uses} (initialize.<name>.model_dir)")
    return 0


def _write(args: argparse.Namespace) -> int:
    shard_bytes = _bytes(args.shard_size)
    from mm_models.checkpoints.containers import output_files
    from trainers import runs, weight_export

    output_files.check_new(args.output)
    checkpoint = args.checkpoint[0] if args.checkpoint else "latest"
    loaded = runs.load_run(args.model_dir, checkpoint, use_ema=not args.no_ema)
    written = weight_export.export_run(
        loaded,
        args.target,
        args.output,
        allow=args.allow,
        dtype=args.dtype or "",
        shard_bytes=shard_bytes,
    )
    print(written)
    return 0


def _bytes(text: str) -> int | None:
    """What `500MB` means; None for an empty text. Raises UserError."""
    if not text:
        return None
    found = re.fullmatch(r"([1-9]\d*)(KB|MB|GB)", text)
    if not found:
        raise UserError(f"--shard_size is {text!r}; write a whole number of MB or GB, as in 500MB")
    return int(found[1]) * _UNITS[found[2]]
