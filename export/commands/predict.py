"""`mmstack predict`: one media file or sentence through a run's checkpoint, without a server."""

import argparse
import json
from typing import Any

from export.commands.query import (
    DECODE_TIMEOUT_SECONDS,
    add_media_arguments,
    check_media,
    json_answers,
    print_answers,
)
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--model_dir", required=True, help="run folder of `mmstack train`")
    parser.add_argument(
        "--video", "--media", dest="media", default="", help="MP4, WAV, JPEG, ...; or only --text"
    )
    parser.add_argument(
        "--text", action="append", default=[], help="sentence to compare with; may be repeated"
    )
    parser.add_argument(
        "--label", action="append", default=[], help="class to rank by prompts; may be repeated"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        help="sentence about a class, {} being its name; may be repeated (default: the name)",
    )
    parser.add_argument(
        "--top", type=int, default=5, help="labels, and neighbours of each query, to show"
    )
    parser.add_argument(
        "--records", default="", help="record folder whose nearest clips are looked for"
    )
    parser.add_argument("--split", default="test", help="split of --records")
    parser.add_argument(
        "--by",
        choices=("video", "image", "audio"),
        default="",
        help="what of the --records is compared; default: the first of these the model takes",
    )
    parser.add_argument(
        "--max_records", type=int, default=0, help="only the first so many; 0 for all"
    )
    parser.add_argument(
        "--checkpoint", default="latest", help="`latest`, `best`, or a checkpoint's path"
    )
    parser.add_argument(
        "--frame_rate_hz",
        type=float,
        default=None,
        help="rate of the stored frames; default: what dataset_info.json of the records says",
    )
    add_media_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Decodes, runs the checkpoint's model, compares, prints."""
    _check_flags(args)
    from export.prediction import Predictor
    from trainers import runs

    predictor = Predictor(
        runs.load_run(args.model_dir, args.checkpoint), args.frame_rate_hz, args.checkpoint
    )
    if args.text or args.label or args.records:
        predictor.require_embeddings()
    warnings: tuple[str, ...] = ()
    if args.media:
        warnings = predictor.read_media(
            args.media, args.text, args.max_seconds, DECODE_TIMEOUT_SECONDS
        )
    predictor.read_texts(args.text)
    labels = predictor.labels(args.label, args.prompt or ["{}"])
    neighbours = {}
    if args.records:
        neighbours = predictor.neighbours(
            args.records, args.split, args.by, args.top, args.max_records
        )
    _print(args, predictor, warnings, labels, neighbours)
    return 0


def _check_flags(args: argparse.Namespace) -> None:
    if args.media:
        check_media(args.media)
    elif not args.text:
        raise UserError("give --video, or sentences with --text")
    elif args.label:
        raise UserError("--label ranks classes for a media file; give --video too")
    if args.frame_rate_hz is not None and not args.frame_rate_hz > 0:
        raise UserError(f"--frame_rate_hz={args.frame_rate_hz:g} must be above 0")
    if args.top < 1:
        raise UserError(f"--top={args.top} must be at least 1")
    if args.max_records < 0:
        raise UserError(f"--max_records={args.max_records} must not be negative")
    if args.prompt and not args.label:
        raise UserError("--prompt needs the classes it is about; give --label too")
    for prompt in args.prompt:
        if "{}" not in prompt:
            raise UserError(f"--prompt={prompt!r} has no {{}} for the label; write it in")


def _print(
    args: argparse.Namespace,
    predictor: Any,
    warnings: tuple[str, ...],
    labels: dict,
    neighbours: dict,
) -> None:
    import dataclasses

    from export import comparisons

    if args.json:
        answers = json_answers(predictor.outputs, args.text, warnings)
        answers["sentences"] = {key: rows.tolist() for key, rows in predictor.sentences.items()}
        for name, lists in (("labels", labels), ("nearest", neighbours)):
            answers[name] = {
                title: [dataclasses.asdict(entry) for entry in entries]
                for title, entries in lists.items()
            }
        print(json.dumps(answers))
        return
    print_answers(predictor.outputs, args.text, warnings, as_json=False)
    for key, rows in predictor.sentences.items():
        print(f"{f'sentences.{key}':<28} {len(rows)} of {rows.shape[1]} numbers")
    for title, ranked in labels.items():
        print(f"\n{comparisons.label_table(title, ranked[: args.top])}")
    for title, found in neighbours.items():
        print(f"\n{comparisons.neighbour_table(title, found)}")
