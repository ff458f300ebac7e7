"""`mmstack features`: records with frames to records with features of a frozen encoder."""

import argparse

from beam_pipelines.commands.shared_filesystem import add_shared_filesystem_argument
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; options it does not know go to Beam."""
    parser.set_defaults(accepts_passthrough=True)
    parser.epilog = "Other options are Beam's, such as --runner=DataflowRunner --project=..."
    parser.add_argument("--records", required=True, help="record folder with frames, local or URL")
    parser.add_argument(
        "--encoder",
        required=True,
        help="SavedModel with the signature feature_maps, or a folder of its numbered versions",
    )
    parser.add_argument("--output", required=True, help="record folder to make, local or URL")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_grid_arguments(parser.add_argument_group("features"))
    _add_job_arguments(parser.add_argument_group("job"))


def _add_grid_arguments(group) -> None:
    group.add_argument("--rate_hz", type=float, default=1.0, help="steps per second")
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
        "--batch_size", type=int, default=16, help="steps that go through the encoder at once"
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
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    from beam_pipelines.pipelines.features import job
    from beam_pipelines.pipelines.job_report import print_report

    print_report(job.run(features_job(args)), args.output)
    return 0


def features_job(args: argparse.Namespace):
    """`FeaturesJob` from parsed arguments. Raises UserError."""
    from beam_pipelines.pipelines.beam_options import checked_words
    from beam_pipelines.pipelines.features.features_job import FeaturesJob, GridConfig
    from beam_pipelines.pipelines.runner import parse_workers

    return FeaturesJob(
        records=args.records.rstrip("/"),
        encoder=args.encoder.rstrip("/"),
        output=args.output.rstrip("/"),
        grid=GridConfig(
            rate_hz=args.rate_hz,
            rows=args.rows,
            columns=args.columns,
            batch_size=args.batch_size,
            keep_frames=args.keep_frames,
            keep_sound=args.keep_sound,
        ),
        workers=parse_workers(args.workers),
        max_rejected_share=args.max_rejected_share,
        overwrite=args.overwrite,
        shared_filesystem=args.shared_filesystem,
        passthrough=tuple(checked_words(args.passthrough, args.known_options)),
    )


def _check_numbers(args: argparse.Namespace) -> None:
    for name in ("rate_hz", "rows", "columns", "batch_size"):
        value = getattr(args, name)
        if not 0 < value < float("inf"):
            raise UserError(f"--{name} {value}: expected a positive number")
    if not 0 <= args.max_rejected_share <= 1:
        raise UserError(f"--max_rejected_share {args.max_rejected_share}: expected 0 to 1")
