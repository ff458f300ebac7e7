"""`mmstack features`: clips to records with features of a frozen encoder.

The features are computed of records with frames, or were stored by another program.
"""

import argparse
from typing import Any

from beam_pipelines.commands.shared_filesystem import add_shared_filesystem_argument
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; options it does not know go to Beam."""
    parser.set_defaults(accepts_passthrough=True)
    parser.epilog = "Other options are Beam's, such as --runner=DataflowRunner --project=..."
    parser.add_argument("--records", default="", help="record folder with frames, local or URL")
    parser.add_argument(
        "--from_hdf5",
        action="append",
        default=[],
        metavar="SPLIT=FOLDER",
        help="instead of records: HDF5 files of stored features, video/segment/features and "
        "caption; give it once for each split",
    )
    parser.add_argument(
        "--encoder",
        default="",
        help="SavedModel with the signature feature_maps, or a folder of its numbered versions; "
        "with --from_hdf5 a name for what computed the features",
    )
    parser.add_argument("--output", required=True, help="record folder to make, local or URL")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_grid_arguments(parser.add_argument_group("features"))
    _add_job_arguments(parser.add_argument_group("job"))


def _add_grid_arguments(group) -> None:
    group.add_argument("--rate_hz", type=float, default=1.0, help="steps per second")
    group.add_argument(
        "--window_seconds",
        type=float,
        default=0.0,
        help="what the encoder sees around the middle of each step; 0: the step",
    )
    group.add_argument("--rows", type=int, default=3, help="regions of a step, one above another")
    group.add_argument(
        "--columns",
        type=int,
        default=3,
        help="regions of a step, side by side; larger maps of the encoder are averaged",
    )
    group.add_argument("--keep_frames", action="store_true", help="records keep their frames")
    group.add_argument("--keep_sound", action="store_true", help="records keep their sound")


def _add_job_arguments(group) -> None:
    group.add_argument(
        "--batch_size", type=int, help="steps that go through the encoder at once; default: 16"
    )
    group.add_argument(
        "--max_rejected_share",
        type=float,
        default=0.2,
        help="no output is written when a larger share of the records is rejected; 1 accepts any",
    )
    group.add_argument("--workers", default="auto", help="worker processes; auto: one per core")
    add_shared_filesystem_argument(group)


def run(args: argparse.Namespace) -> int:
    """Runs the job and prints what went in and came out."""
    _check_numbers(args)
    _check_sources(args)
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    from beam_pipelines.pipelines.features import hdf5_job, job
    from beam_pipelines.pipelines.job_report import print_report

    info = hdf5_job.run(hdf5_of(args)) if args.from_hdf5 else job.run(features_job(args))
    print_report(info, args.output)
    return 0


def features_job(args: argparse.Namespace):
    """`FeaturesJob` from parsed arguments. Raises UserError."""
    from beam_pipelines.pipelines.features.features_job import FeaturesJob

    return FeaturesJob(
        records=args.records.rstrip("/"), encoder=args.encoder.rstrip("/"), **_shared_fields(args)
    )


def hdf5_of(args: argparse.Namespace):
    """`Hdf5Job` from parsed arguments. Raises UserError."""
    from beam_pipelines.items.schema import SPLITS
    from beam_pipelines.pipelines.features.features_job import Hdf5Job

    folders: dict[str, str] = {}
    for text in args.from_hdf5:
        split, _, folder = text.partition("=")
        if split not in SPLITS or not folder or split in folders:
            raise UserError(
                f"--from_hdf5 {text}: expected one of {', '.join(SPLITS)}, each at most once, `=` "
                "and a folder, such as train=features/train"
            )
        folders[split] = folder.rstrip("/")
    encoder = f"{args.encoder or 'unknown'}@hdf5"
    return Hdf5Job(folders=folders, encoder=encoder, **_shared_fields(args))


def _shared_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Fields that both kinds of jobs have."""
    from beam_pipelines.pipelines.beam_options import checked_words
    from beam_pipelines.pipelines.features.features_job import GridConfig
    from beam_pipelines.pipelines.runner import parse_workers

    return {
        "output": args.output.rstrip("/"),
        "grid": GridConfig(
            rate_hz=args.rate_hz,
            rows=args.rows,
            columns=args.columns,
            batch_size=args.batch_size or GridConfig.batch_size,
            window_seconds=args.window_seconds,
            keep_frames=args.keep_frames,
            keep_sound=args.keep_sound,
        ),
        "workers": parse_workers(args.workers),
        "max_rejected_share": args.max_rejected_share,
        "overwrite": args.overwrite,
        "shared_filesystem": args.shared_filesystem,
        "passthrough": tuple(checked_words(args.passthrough, args.known_options)),
    }


def _check_sources(args: argparse.Namespace) -> None:
    if bool(args.records) == bool(args.from_hdf5):
        raise UserError("give either --records with frames, or --from_hdf5 with stored features")
    if args.records and not args.encoder:
        raise UserError("--encoder is empty; name the SavedModel that computes the features")
    for name in ("keep_frames", "keep_sound", "batch_size", "window_seconds"):
        if args.from_hdf5 and getattr(args, name):
            raise UserError(f"--{name} is for --records, not for stored features; leave it out")


def _check_numbers(args: argparse.Namespace) -> None:
    for name in ("rate_hz", "rows", "columns", "batch_size"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name} {value}: expected a positive number")
    if args.window_seconds and not 1 / args.rate_hz <= args.window_seconds < float("inf"):
        raise UserError(
            f"--window_seconds {args.window_seconds} is shorter than a step of --rate_hz "
            f"{args.rate_hz}; give a longer window, or leave it out"
        )
    if not 0 <= args.max_rejected_share <= 1:
        raise UserError(f"--max_rejected_share {args.max_rejected_share}: expected 0 to 1")
