"""`mmstack predict`: one media file through a run's checkpoint, without a server."""

import argparse
from typing import Any

from export.commands.query import (
    DECODE_TIMEOUT_SECONDS,
    add_media_arguments,
    check_media,
    print_answers,
)
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--model_dir", required=True, help="run folder of `mmstack train`")
    parser.add_argument(
        "--video", "--media", dest="media", required=True, help="MP4, WAV, JPEG, ..."
    )
    parser.add_argument(
        "--text", action="append", default=[], help="sentence to compare with; may be repeated"
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
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Decodes, runs the checkpoint's model, prints."""
    check_media(args.media)
    if args.frame_rate_hz is not None and not args.frame_rate_hz > 0:
        raise UserError(f"--frame_rate_hz={args.frame_rate_hz:g} must be above 0")
    from export import client_media
    from trainers import registry, runs

    loaded = runs.load_run(args.model_dir, args.checkpoint)
    signatures_class = registry.resolve(registry.system(loaded.config.task.name).signatures)
    signatures = signatures_class.from_run(loaded, args.frame_rate_hz, args.checkpoint)
    with client_media.isolated_decoder(DECODE_TIMEOUT_SECONDS) as decoder:
        clip = client_media.decode(args.media, signatures.info, args.max_seconds, decoder)
    outputs: dict[str, Any] = {}
    names = signatures.docs()
    for name, arrays in client_media.requests_for(clip, args.text, names).items():
        outputs |= {f"{name}.{k}": v[0] for k, v in signatures.reference(name, arrays).items()}
    if not outputs:
        raise UserError(
            f"{args.media} has no stream that this model takes; it answers {sorted(names)}"
        )
    print_answers(outputs, args.text, clip.warnings, as_json=args.json)
    return 0
