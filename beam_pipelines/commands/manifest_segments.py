"""`mmstack manifest segments`: videos with a caption for each segment."""

import argparse
from collections.abc import Iterator
from typing import Any

from mm_models.errors import UserError

_LAYOUTS = ("youcookii", "activitynet", "msrvtt", "columns")
_COLUMN_FLAGS = {
    "video_column": "ids that media files are named after; default: video_id",
    "start_column": "lists of starts; default: start",
    "end_column": "lists of ends; default: end",
    "caption_column": "lists of sentences; default: caption",
    "duration_column": "lengths of the videos, where there is one; default: duration",
    "time_unit": "of all times; default: seconds",
    "split": "of all videos; default: drawn by a hash of the video's id",
}
_CHOICES = {"time_unit": ("seconds", "microseconds"), "split": ("train", "val", "test")}


def add_arguments(sources) -> argparse.ArgumentParser:
    """Adds the sub-command to `sources` and returns its parser."""
    parser = sources.add_parser(
        "segments",
        help="annotated segments of videos: YouCookII, ActivityNet Captions, MSR-VTT, tables",
        description="One item a segment, with its video as group and its place there.",
    )
    parser.add_argument("--layout", required=True, choices=_LAYOUTS, help="of the annotations")
    parser.add_argument(
        "--annotations", nargs="+", default=[], metavar="FILE", help="files, local or URLs"
    )
    parser.add_argument(
        "--media_folder", required=True, help="files in it are named after the videos; or a URL"
    )
    parser.add_argument("--language", default="en", help="of the sentences (BCP 47); may be empty")
    parser.add_argument(
        "--rounding",
        default="exact",
        choices=("exact", "paper"),
        help="of the times: as they are, or as published experiments on the data set round them",
    )
    parser.add_argument(
        "--reference_sets",
        nargs="+",
        default=[],
        metavar="FILE",
        help="activitynet: files of the validation videos, one for each annotator",
    )
    parser.add_argument(
        "--split_ids",
        default="",
        metavar="FILE",
        help="activitynet: which of these videos are for validation and which for testing",
    )
    for name, text in _COLUMN_FLAGS.items():
        choices = _CHOICES.get(name)
        parser.add_argument(f"--{name}", default="", choices=choices, help=f"columns: {text}")
    return parser


def segment_items(args: argparse.Namespace, account) -> tuple[str, Iterator[Any]]:
    """(folder of the media, items and rejects)."""
    from beam_pipelines.sources.segments import rounding
    from beam_pipelines.sources.segments.segment_items import segment_items

    _check_flags(args)
    paper = {"youcookii": rounding.whole_seconds, "activitynet": rounding.second_earlier}
    found = segment_items(
        _videos(args, account),
        args.media_folder,
        language=args.language,
        rounding=paper[args.layout] if args.rounding == "paper" else rounding.exact,
        account=account,
    )
    return args.media_folder, found


def _check_flags(args: argparse.Namespace) -> None:
    """Raises UserError for flags that the layout would ignore, and where nothing is to be read."""
    allowed = {
        "activitynet": {"reference_sets", "split_ids", "rounding"},
        "columns": set(_COLUMN_FLAGS),
        "youcookii": {"rounding"},
    }.get(args.layout, set())
    for name in ("reference_sets", "split_ids", "rounding", *_COLUMN_FLAGS):
        value = getattr(args, name)
        if value and value != "exact" and name not in allowed:
            raise UserError(f"--{name} says nothing about --layout={args.layout}; drop it")
    if not (args.annotations or args.reference_sets):
        raise UserError("--annotations names no file; name those that are to be read")
    if args.split_ids and not args.reference_sets:
        raise UserError("--split_ids divides the videos of --reference_sets; name their files")


def _videos(args: argparse.Namespace, account) -> Iterator[Any]:
    """What the reader of the layout yields."""
    if args.layout == "activitynet":
        from beam_pipelines.sources.segments.activitynet import read_activitynet
        from beam_pipelines.sources.segments.split_ids import SplitIds

        split_ids = SplitIds(args.split_ids) if args.split_ids else None
        yield from read_activitynet(args.annotations, args.reference_sets, split_ids, account)
        return
    read = {"youcookii": _youcookii, "msrvtt": _msrvtt, "columns": _list_columns}[args.layout]
    for path in args.annotations:
        yield from read(path, args, account)


def _youcookii(path: str, args: argparse.Namespace, account) -> Iterator[Any]:
    from beam_pipelines.sources.segments.youcookii import read_youcookii

    return read_youcookii(path, account)


def _msrvtt(path: str, args: argparse.Namespace, account) -> Iterator[Any]:
    from beam_pipelines.sources.segments.msrvtt import read_msrvtt

    return read_msrvtt(path, account)


def _list_columns(path: str, args: argparse.Namespace, account) -> Iterator[Any]:
    from beam_pipelines.sources.segments.list_columns import ListColumns, read_list_columns

    given = {
        "video": args.video_column,
        "starts": args.start_column,
        "ends": args.end_column,
        "sentences": args.caption_column,
        "duration": args.duration_column,
        "unit": args.time_unit,
    }
    columns = ListColumns(**{name: value for name, value in given.items() if value})
    return read_list_columns(path, columns, args.split, account)
