"""`mmstack query`: a file, words or a prompt to a served model, and a table of its answers."""

import argparse
import os
from typing import Any

from export.client.answers import check_output_dir, collect, from_reply, print_answers
from export.client.questions import question_for
from export.version import layout
from mm_models.errors import UserError

DECODE_TIMEOUT_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--address", default=f"127.0.0.1:{layout.DEFAULT_REST_PORT}", help="host:port"
    )
    parser.add_argument(
        "--protocol", choices=("rest", "grpc"), default="rest", help="what listens at --address"
    )
    parser.add_argument("--name", default="", help="model name; default: the export folder's")
    parser.add_argument("--version", type=int, default=None, help="default: the newest")
    parser.add_argument(
        "--export_dir", default="", help="folder of versions, where model_info.json is read from"
    )
    add_question_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what is asked about which file, and how it is decoded."""
    parser.add_argument("--image", default="", help="a picture: JPEG, PNG, ...")
    parser.add_argument("--video", "--media", dest="media", default="", help="MP4, WAV, JPEG, ...")
    parser.add_argument(
        "--text", action="append", default=[], help="sentence to compare with; may be repeated"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        help="class to choose from, or text whose probability is asked for; may be repeated",
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        help="of a model that writes: what it is asked, {lang} being the name of --language; of "
        "`predict` with another model: a sentence about a class, {} being its name (default: the "
        "name), may be repeated",
    )
    parser.add_argument(
        "--phrase",
        help="of a model that finds phrases: what is looked for in the file",
    )
    parser.add_argument(
        "--language",
        default="",
        help="of a model that writes: code of the language for the prompt, or for a caption where "
        "there is no --prompt",
    )
    parser.add_argument("--seed", type=int, default=0, help="of a model that draws its answers")
    parser.add_argument("--max_seconds", type=float, default=600.0, help="longest file accepted")
    parser.add_argument(
        "--output_dir",
        default="",
        help="folder for what is more than numbers and words: sounds, videos, boxes and heat maps",
    )


def run(args: argparse.Namespace) -> int:
    """Decodes here, asks there, prints."""
    from export.client import protocols

    protocols.split_address(args.address)
    path = media_path(args)
    if not path and not (args.prompt or args.language or args.text):
        raise UserError("give --image or --video, a --prompt or a --text")
    if not args.export_dir and not args.name:
        raise UserError("give --name, or --export_dir of the model that is served")
    name = args.name or os.path.basename(args.export_dir.rstrip("/"))
    asked = question_arguments(args)
    check_output_dir(args.output_dir)
    if not args.export_dir:
        return _ask_server_to_decode(args, name, path, asked)
    from export.client import media_requests
    from export.version.model_info import parse_model_info

    info_path = newest_info_path(args.export_dir, args.version)
    with open(info_path, encoding="utf-8") as file:
        info = parse_model_info(file.read(), info_path)
    question = question_for(info, **asked)
    clip = decode_file(path, info, args) if path else None
    requests, rows = media_requests.requests_for(clip, question, info.signatures), {}
    kind = protocols.GrpcClient if args.protocol == "grpc" else protocols.RestClient
    with kind(args.address, name, args.version) as client:
        for signature, arrays in requests.items():
            answer = client.predict(arrays, signature)
            rows[signature] = {key: value[0] for key, value in answer.items()}
    answers = collect(info.signatures, rows, (clip.frames_jpeg or ()) if clip else ())
    warnings = clip.warnings if clip else ()
    print_answers(answers, question, warnings, as_json=args.json, output_dir=args.output_dir)
    return 0


def media_path(args: argparse.Namespace) -> str:
    """The file of --image or --video, empty for none.

    Raises:
        UserError: both are given, or it does not exist or is empty.
    """
    if args.image and args.media:
        raise UserError("give one of --image and --video; a model is asked about one file")
    path, flag = (args.image, "--image") if args.image else (args.media, "--video")
    if path and not os.path.isfile(path):
        raise UserError(f"{flag}={path} does not exist; give a media file")
    if path and not os.path.getsize(path):
        raise UserError(f"{flag}={path} is empty; give an intact media file")
    return path


def question_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `question_for`. Raises UserError for several prompts."""
    if len(args.prompt) > 1:
        raise UserError("give one --prompt; a model that writes answers one at a time")
    return {
        "texts": args.text,
        "labels": args.label,
        "prompt": "".join(args.prompt),
        "language": args.language,
        "seed": args.seed,
        "phrase": args.phrase,
    }


def decode_file(path: str, info: Any, args: argparse.Namespace):
    """The file as a `client_media.Clip`. Raises UserError."""
    from export.client import media_requests

    with media_requests.isolated_decoder(DECODE_TIMEOUT_SECONDS) as decoder:
        return media_requests.decode(
            path, info, args.max_seconds, decoder, only_stills=bool(args.image)
        )


def newest_info_path(export_dir: str, version: int | None) -> str:
    """Path of a local export's model_info.json. Raises UserError."""
    from export.commands.serve import check_export_dir

    check_export_dir(export_dir)
    names = [name for name in os.listdir(export_dir) if layout.version_number(name) is not None]
    numbers = {int(name): name for name in names}
    chosen = max(numbers) if version is None else version
    if chosen not in numbers:
        raise UserError(
            f"--export_dir={export_dir} has no version {chosen}; it has {sorted(numbers)}"
        )
    path = os.path.join(export_dir, numbers[chosen], layout.ASSETS_EXTRA, layout.MODEL_INFO_FILE)
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist; export with `mmstack export`")
    return path


def _ask_server_to_decode(
    args: argparse.Namespace, name: str, path: str, asked: dict[str, Any]
) -> int:
    from export.client.protocols import RestClient
    from export.client.questions import Question

    if args.protocol == "grpc":
        raise UserError("over gRPC the file is decoded here: give --export_dir of the served model")
    if not path:
        raise UserError("a question without a file needs --export_dir of the served model")
    with open(path, "rb") as file, RestClient(args.address, name, args.version) as client:
        reply = client.predict_media(file.read(), **asked)
    prompt = reply.get("prompt", "")
    question = Question(tuple(args.text), prompt, tuple(args.label), phrase=args.phrase or "")
    answers, warnings = from_reply(reply), reply["warnings"]
    print_answers(answers, question, warnings, as_json=args.json, output_dir=args.output_dir)
    return 0
