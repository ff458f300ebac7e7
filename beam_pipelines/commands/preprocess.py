"""`mmstack preprocess`: raw media to records."""

import argparse

from beam_pipelines.commands.shared_filesystem import add_shared_filesystem_argument
from mm_models.errors import UserError

_WINDOW_MODES = ("whole", "stride", "captions")
_AUDIO_ENCODINGS = ("floats", "pcm16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; options it does not know go to Beam."""
    parser.set_defaults(accepts_passthrough=True)
    parser.epilog = "Other options are Beam's, such as --runner=DataflowRunner --project=..."
    parser.add_argument("--manifest", required=True, help="JSON Lines manifest, local or URL")
    parser.add_argument("--output", required=True, help="record folder to make, local or URL")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_media_arguments(parser.add_argument_group("media"))
    _add_window_arguments(parser.add_argument_group("clips"))
    _add_job_arguments(parser.add_argument_group("job"))


def _add_media_arguments(group) -> None:
    group.add_argument("--frame_rate_hz", type=float, default=10.0)
    group.add_argument("--short_side", type=int, default=256, help="pixels of the stored frames")
    group.add_argument(
        "--picture_region",
        default="",
        metavar="TOP,LEFT,HEIGHT,WIDTH",
        help="store this part of the pictures only, as shares of them, such as 0.5,0.25,0.4,0.5; "
        "--short_side is then the part's",
    )
    group.add_argument("--jpeg_quality", type=int, default=95, help="1 to 95")
    group.add_argument("--sample_rate_hz", type=int, default=48000)
    group.add_argument("--audio_encoding", choices=_AUDIO_ENCODINGS, default="floats")
    group.add_argument(
        "--max_damaged_share",
        type=float,
        default=0.0,
        help="share of damaged frames, and of damaged sound, that a clip may have; "
        "what is damaged is concealed by the decoder and named in the statistics. Default: none",
    )
    group.add_argument("--no_video", action="store_true", help="store sound and text only")
    group.add_argument("--no_audio", action="store_true", help="store frames and text only")
    group.add_argument(
        "--text_only",
        action="store_true",
        help="store what the manifest says alone, a record an item, without any media",
    )


def _add_window_arguments(group) -> None:
    group.add_argument(
        "--windows",
        choices=_WINDOW_MODES,
        default="whole",
        help="one clip a file, windows at a fixed stride, or one around each timed caption",
    )
    group.add_argument("--window_seconds", type=float, default=3.2)
    group.add_argument("--stride_seconds", type=float, help="default: the window, no overlap")
    group.add_argument(
        "--nearest_captions",
        type=int,
        help="captions kept per clip, those it was cut around and then the nearest; 0 keeps all. "
        "Default: all for whole files, else 5",
    )


def _add_job_arguments(group) -> None:
    group.add_argument("--records_per_shard", type=int, default=1024)
    group.add_argument("--shards_per_split", type=int, help="instead of --records_per_shard")
    group.add_argument(
        "--split_shares",
        default="train=0.8,val=0.1,test=0.1",
        help="for items whose line names no split; drawn by a hash of the id",
    )
    group.add_argument(
        "--max_rejected_share",
        type=float,
        default=0.2,
        help="no output is written when a larger share of the items or clips is rejected; "
        "1 accepts any",
    )
    group.add_argument("--workers", default="auto", help="worker processes; auto: one per core")
    add_shared_filesystem_argument(group)
    group.add_argument(
        "--decode_cpu_seconds",
        type=float,
        default=60.0,
        help="processor time that decoding a file, or 32 windows of it, may take",
    )
    group.add_argument(
        "--decode_wall_seconds",
        type=float,
        default=900.0,
        help="time after which decoding is given up on a hanging disk or overloaded machine",
    )
    group.add_argument("--decode_memory_mib", type=int, default=2048)
    group.add_argument("--max_seconds", type=float, default=600.0, help="longest clip")
    group.add_argument("--max_pixels", type=int, default=50_000_000, help="largest source frame")


def run(args: argparse.Namespace) -> int:
    """Runs the job and prints what went in and came out."""
    _check_numbers(args)
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    from beam_pipelines.pipelines import preprocess
    from beam_pipelines.pipelines.job_report import print_report

    print_report(preprocess.run(job_config(args)), args.output)
    return 0


def job_config(args: argparse.Namespace):
    """`JobConfig` from parsed arguments. Raises UserError."""
    from beam_pipelines.items import manifest
    from beam_pipelines.items.windows import WindowConfig
    from beam_pipelines.pipelines.beam_options import checked_words
    from beam_pipelines.pipelines.job_config import JobConfig
    from beam_pipelines.pipelines.preprocess_item import PreprocessConfig
    from beam_pipelines.pipelines.runner import parse_workers

    nearest = args.nearest_captions
    if nearest is None:
        nearest = 0 if args.windows == "whole" else 5
    return JobConfig(
        manifest_path=args.manifest,
        output=args.output.rstrip("/"),
        preprocess=PreprocessConfig(
            want_video=not (args.no_video or args.text_only),
            want_audio=not (args.no_audio or args.text_only),
            frame_rate_hz=args.frame_rate_hz,
            short_side=args.short_side,
            region=parse_region(args.picture_region),
            jpeg_quality=args.jpeg_quality,
            sample_rate_hz=args.sample_rate_hz,
            audio_encoding=args.audio_encoding,
            windows=WindowConfig(
                mode=args.windows,
                window_seconds=args.window_seconds,
                stride_seconds=args.stride_seconds or args.window_seconds,
                nearest_captions=nearest,
            ),
            split_shares=manifest.parse_split_shares(args.split_shares),
            decode_cpu_seconds=args.decode_cpu_seconds,
            decode_wall_seconds=args.decode_wall_seconds,
            decode_memory_bytes=args.decode_memory_mib << 20,
            max_seconds=args.max_seconds,
            max_pixels=args.max_pixels,
            max_damaged_share=args.max_damaged_share,
        ),
        records_per_shard=args.records_per_shard,
        shards_per_split=args.shards_per_split,
        workers=parse_workers(args.workers),
        max_rejected_share=args.max_rejected_share,
        overwrite=args.overwrite,
        shared_filesystem=args.shared_filesystem,
        passthrough=tuple(checked_words(args.passthrough, args.known_options)),
    )


def parse_region(text: str) -> tuple[float, ...] | None:
    """Reads `top,left,height,width`; None when empty. Raises UserError."""
    from beam_pipelines.media.decode_contract import check_region

    if not text:
        return None
    try:
        region = tuple(float(share) for share in text.split(","))
        check_region(region)
    except ValueError as error:
        raise UserError(
            f"--picture_region {text}: expected top,left,height,width as shares of the picture, "
            f"such as 0.5,0.25,0.4,0.5 ({error})"
        ) from error
    return region


def _check_numbers(args: argparse.Namespace) -> None:
    if args.no_video and args.no_audio:
        raise UserError(
            "--no_video and --no_audio leave words alone to store; drop one of them, or give "
            "--text_only, which needs no media"
        )
    if args.text_only and args.windows != "whole":
        raise UserError(
            f"--windows {args.windows} cuts media, which --text_only does not look at; drop one of "
            "them"
        )
    positive = (
        *("frame_rate_hz", "short_side", "sample_rate_hz", "window_seconds", "stride_seconds"),
        *("records_per_shard", "shards_per_split", "decode_cpu_seconds", "decode_wall_seconds"),
        *("decode_memory_mib", "max_seconds", "max_pixels"),
    )
    for name in positive:
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name} {value}: expected a positive number")
    if not 1 <= args.jpeg_quality <= 95:
        raise UserError(f"--jpeg_quality {args.jpeg_quality}: expected 1 to 95")
    if not 0 <= args.max_rejected_share <= 1:
        raise UserError(f"--max_rejected_share {args.max_rejected_share}: expected 0 to 1")
    if not 0 <= args.max_damaged_share <= 1:
        raise UserError(f"--max_damaged_share {args.max_damaged_share}: expected 0 to 1")
    if args.nearest_captions is not None and args.nearest_captions < 0:
        raise UserError(f"--nearest_captions {args.nearest_captions}: expected 0 (all) or more")
