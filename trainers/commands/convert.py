"""`mmstack convert`: weights published in another form into a run folder, and a run's back."""

import argparse

from mm_models.errors import UserError

FORMATS = ("vatt",)
# Flags of each direction, and those that only the other one has.
_NEEDED = {"source": ("checkpoint", "config_file"), "target": ("output",)}
_FOREIGN = {"source": ("output", "no_ema"), "target": ("config_file", "set", "allow")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument(
        "--from", dest="source", choices=FORMATS, help="form of the published --checkpoint"
    )
    direction.add_argument(
        "--to", dest="target", choices=FORMATS, help="form in which to write the run's weights"
    )
    parser.add_argument(
        "--model_dir", required=True, help="run folder: made by --from, read by --to"
    )
    parser.add_argument(
        "--checkpoint",
        default="",
        help="with --from the published checkpoint, without .index; with --to `latest`, `best` or "
        "a checkpoint's path (default latest)",
    )
    parser.add_argument(
        "--config_file", action="append", default=[], help="experiment of the run to make (--from)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override one setting (--from)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="regular expression for keys that may be missing or left over (--from)",
    )
    parser.add_argument("--output", default="", help="folder for the checkpoint to write (--to)")
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
    given = "source" if args.source else "target"
    direction = "--from" if args.source else "--to"
    missing = [f"--{name}" for name in _NEEDED[given] if not getattr(args, name)]
    if missing:
        raise UserError(f"{direction} needs {' and '.join(missing)}")
    foreign = [f"--{name}" for name in _FOREIGN[given] if getattr(args, name)]
    if foreign:
        raise UserError(f"{' and '.join(foreign)} mean nothing to {direction}; leave them out")


def _read(args: argparse.Namespace) -> int:
    from trainers import conversion
    from trainers.config import load_config

    config = load_config(args.config_file, args.set)
    converted = conversion.import_run(config, args.checkpoint, args.model_dir, args.allow)
    print(f"{args.checkpoint}, step {converted.step}:\n{converted.report}")
    print(f"wrote {converted.checkpoint}; it is for eval, predict, export, and to start from")
    return 0


def _write(args: argparse.Namespace) -> int:
    from mm_models.checkpoints import published, vatt
    from trainers import runs

    published.check_output(args.output)
    loaded = runs.load_run(args.model_dir, args.checkpoint or "latest", use_ema=not args.no_ema)
    path = vatt.export_weights(loaded.model, args.output, loaded.step)
    print(f"wrote {path} (step {loaded.step})")
    return 0
