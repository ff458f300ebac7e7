"""`mmstack query`: a media file and sentences to a served model, and a table of its answers."""

import argparse
import json
import os
from typing import Any

import numpy as np

from export import layout
from mm_models.errors import UserError

DECODE_TIMEOUT_SECONDS = 60.0
KINDS = {"image": "picture", "video": "video", "audio": "sound"}
# What the table of a signature's similarities is called.
TITLES = {"similarity": "video"} | {f"similarity_{kind}": name for kind, name in KINDS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--video", "--media", dest="media", required=True, help="MP4, WAV, JPEG, ..."
    )
    parser.add_argument(
        "--text", action="append", default=[], help="sentence to compare with; may be repeated"
    )
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
    add_media_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_media_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how a media file is decoded."""
    parser.add_argument("--max_seconds", type=float, default=600.0, help="longest file accepted")


def run(args: argparse.Namespace) -> int:
    """Decodes here, asks there, prints."""
    from export.client import split_address

    split_address(args.address)
    check_media(args.media)
    if not args.export_dir and not args.name:
        raise UserError("give --name, or --export_dir of the model that is served")
    name = args.name or os.path.basename(args.export_dir.rstrip("/"))
    if not args.export_dir:
        return _ask_server_to_decode(args, name)
    from export import client_media
    from export.model_info import parse_model_info

    info_path = newest_info_path(args.export_dir, args.version)
    with open(info_path, encoding="utf-8") as file:
        info = parse_model_info(file.read(), info_path)
    with client_media.isolated_decoder(DECODE_TIMEOUT_SECONDS) as decoder:
        clip = client_media.decode(args.media, info, args.max_seconds, decoder)
    outputs: dict[str, Any] = {}
    with _client(args, name) as client:
        for signature, arrays in client_media.requests_for(clip, args.text, info.outputs).items():
            answer = client.predict(arrays, signature)
            outputs |= {f"{signature}.{key}": np.asarray(v)[0] for key, v in answer.items()}
    print_answers(outputs, args.text, clip.warnings, as_json=args.json)
    return 0


def check_media(path: str) -> None:
    """Raises UserError unless `path` is a file with something in it."""
    if not os.path.isfile(path):
        raise UserError(f"--video={path} does not exist; give a media file")
    if not os.path.getsize(path):
        raise UserError(f"--video={path} is empty; give an intact media file")


def newest_info_path(export_dir: str, version: int | None) -> str:
    """Path of a local export's model_info.json. Raises UserError."""
    from export.commands.serve import check_export_dir

    check_export_dir(export_dir)
    numbers = {
        number: name
        for name in os.listdir(export_dir)
        if (number := layout.version_number(name)) is not None
    }
    chosen = max(numbers) if version is None else version
    if chosen not in numbers:
        raise UserError(
            f"--export_dir={export_dir} has no version {chosen}; it has {sorted(numbers)}"
        )
    path = os.path.join(export_dir, numbers[chosen], layout.ASSETS_EXTRA, layout.MODEL_INFO_FILE)
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist; export with `mmstack export`")
    return path


def print_answers(
    outputs: dict[str, Any], texts: list[str], warnings: tuple[str, ...], *, as_json: bool
) -> None:
    """Prints embeddings as a summary, similarities and best classes as tables, or all as JSON.

    Args:
        outputs: arrays of one row by `<signature>.<output>`.
        texts: sentences in the order of the similarities.
        warnings: of the decoder.
        as_json: print JSON.
    """
    if as_json:
        print(json.dumps(json_answers(outputs, texts, warnings)))
        return
    for warning in warnings:
        print(f"note: {warning}")
    for key, value in outputs.items():
        value = np.asarray(value)
        if key.startswith(("embed_", "encode_")):
            start = ", ".join(f"{entry:.3f}" for entry in value[:4])
            print(f"{key:<28} {len(value)} numbers: {start}, ...")
    for signature, title in TITLES.items():
        if f"{signature}.similarity" in outputs:
            _print_table(
                title,
                texts,
                np.asarray(outputs[f"{signature}.similarity"]),
                np.asarray(outputs[f"{signature}.probability"]),
            )
    for key in [key for key in outputs if key.endswith(".top_class")]:
        signature = key.removesuffix(".top_class")
        _print_classes(
            next(title for kind, title in KINDS.items() if f"_{kind}" in signature),
            _plain(np.asarray(outputs[key]).tolist()),
            np.asarray(outputs[f"{signature}.top_probability"]),
        )


def json_answers(
    outputs: dict[str, Any], texts: list[str], warnings: tuple[str, ...]
) -> dict[str, Any]:
    """The arguments of `print_answers` as what JSON can hold."""
    values = {key: _plain(np.asarray(value).tolist()) for key, value in outputs.items()}
    return {"texts": texts, "outputs": values, "warnings": list(warnings)}


def _plain(value: Any) -> Any:
    """The same with text in place of bytes."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _print_classes(title: str, names: list[str], probabilities: np.ndarray) -> None:
    width = max(len(title), *(len(name) for name in names))
    print(f"\n{title:<{width}}  probability")
    for name, probability in zip(names, probabilities, strict=True):
        print(f"{name:<{width}}  {probability:>11.4f}")


def _print_table(
    title: str, texts: list[str], similarity: np.ndarray, probability: np.ndarray
) -> None:
    width = max(len(title), *(len(text) for text in texts))
    print(f"\n{title:<{width}}  similarity  probability")
    for index in np.argsort(-similarity, kind="stable"):
        print(f"{texts[index]:<{width}}  {similarity[index]:>10.4f}  {probability[index]:>11.4f}")


def _ask_server_to_decode(args: argparse.Namespace, name: str) -> int:
    from export.client import RestClient

    if args.protocol == "grpc":
        raise UserError("over gRPC the file is decoded here: give --export_dir of the served model")
    with open(args.media, "rb") as file, RestClient(args.address, name, args.version) as client:
        reply = client.predict_media(file.read(), args.text)
    print_answers(reply["outputs"], args.text, tuple(reply["warnings"]), as_json=args.json)
    return 0


def _client(args: argparse.Namespace, name: str):
    from export import client

    kind = client.GrpcClient if args.protocol == "grpc" else client.RestClient
    return kind(args.address, name, args.version)
