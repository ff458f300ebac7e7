"""`mmstack doctor`: checks machine, versions, data, run and export, and says what to do."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--data", action="append", default=[], help="record folder; repeatable")
    parser.add_argument("--model_dir", default="", help="run folder")
    parser.add_argument("--export_dir", default="", help="folder of numbered versions")
    parser.add_argument(
        "--quick", action="store_true", help="no hashes of shards, no proof of exports"
    )


def run(args: argparse.Namespace) -> int:
    """Prints one line per finding; 1 when something is wrong."""
    from export.doctor.findings import Level

    counts = dict.fromkeys(Level, 0)
    for finding in _findings(args):
        counts[finding.level] += 1
        print(finding.line(), flush=True)
    print(", ".join(f"{count} {level.value}" for level, count in counts.items()))
    return 1 if counts[Level.PROBLEM] else 0


def _findings(args: argparse.Namespace):
    from export.doctor import machine

    yield from machine.check_machine()
    yield from machine.check_versions()
    # These need a TensorFlow that loads, which the lines before may have found missing.
    from export.doctor import data_folder, export_folder, run_folder

    for folder in args.data:
        yield from data_folder.check_data(folder, hashes=not args.quick)
    if args.model_dir:
        yield from run_folder.check_run(args.model_dir)
    if args.export_dir:
        yield from export_folder.check_export(args.export_dir, proof=not args.quick)
