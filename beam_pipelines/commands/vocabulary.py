"""`mmstack vocabulary`: captions of manifests to a vocabulary."""

import argparse

from beam_pipelines.commands.shared_filesystem import add_shared_filesystem_argument
from mm_models.errors import UserError

_KINDS = ("word", "whitespace", "sentencepiece", "wordpiece")
_SPLITS = ("train", "val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options; options it does not know go to Beam."""
    parser.set_defaults(accepts_passthrough=True)
    parser.add_argument(
        "--manifest",
        required=True,
        action="append",
        help="manifest, local or URL; give it several times to read several",
    )
    parser.add_argument("--output", required=True, help="file to write, local or URL")
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        default="word",
        help="whitespace keeps case and punctuation, which word takes away",
    )
    parser.add_argument("--size", type=int, default=65536, help="most entries, special included")
    parser.add_argument("--splits", default="train", help="comma-separated splits to read")
    parser.add_argument("--split_shares", default="train=0.8,val=0.1,test=0.1")
    parser.add_argument("--languages", default="", help="comma-separated languages (default: all)")
    parser.add_argument("--with_questions", action="store_true", help="questions and answers too")
    parser.add_argument("--with_labels", action="store_true", help="names of classes too")
    parser.add_argument("--with_phrases", action="store_true", help="phrases for objects too")
    _add_piece_arguments(parser)
    parser.add_argument("--workers", default="auto", help="worker processes; auto: one per core")
    add_shared_filesystem_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def _add_piece_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("SentencePiece models")
    group.add_argument("--extra_ids", type=int, default=100, help="sentinels, the last ids")
    group.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="languages count as their sentences to the power of 1 / temperature",
    )
    group.add_argument(
        "--byte_fallback",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="spell what no piece covers in bytes",
    )
    group.add_argument("--templates", default="", help="template file whose words get pieces too")


def run(args: argparse.Namespace) -> int:
    """Runs the job and prints the vocabulary's size."""
    if args.size < 16:
        raise UserError(f"--size {args.size}: expected at least 16")
    splits = tuple(args.splits.split(","))
    if not set(splits) <= set(_SPLITS):
        raise UserError(f"--splits {args.splits}: expected some of {', '.join(_SPLITS)}")
    _check_piece_arguments(args)
    from beam_pipelines.pipelines.runner import import_beam, parse_workers

    import_beam()
    from beam_pipelines.items import manifest
    from beam_pipelines.pipelines import piece_model, vocabulary
    from beam_pipelines.pipelines.beam_options import checked_words

    config = vocabulary.VocabularyConfig(
        manifest_paths=tuple(args.manifest),
        output=args.output,
        kind=args.kind,
        size=args.size,
        splits=splits,
        split_shares=manifest.parse_split_shares(args.split_shares),
        languages=tuple(filter(None, args.languages.split(","))),
        with_questions=args.with_questions,
        with_labels=args.with_labels,
        with_phrases=args.with_phrases,
        pieces=piece_model.PieceOptions(
            extra_ids=args.extra_ids,
            temperature=args.temperature,
            byte_fallback=args.byte_fallback,
            templates=args.templates,
        ),
        workers=parse_workers(args.workers),
        overwrite=args.overwrite,
        shared_filesystem=args.shared_filesystem,
        passthrough=tuple(checked_words(args.passthrough, args.known_options)),
    )
    print(f"{vocabulary.run(config)} entries, wrote {args.output}")
    return 0


def _check_piece_arguments(args: argparse.Namespace) -> None:
    if args.extra_ids < 0:
        raise UserError(f"--extra_ids {args.extra_ids}: expected 0 or more")
    if not 1 <= args.temperature < float("inf"):
        raise UserError(f"--temperature {args.temperature}: expected 1 or more")
    given = {
        "--extra_ids": args.extra_ids != 100,
        "--temperature": args.temperature != 1,
        "--no-byte_fallback": not args.byte_fallback,
        "--templates": bool(args.templates),
    }
    if args.kind != "sentencepiece" and any(given.values()):
        name = next(name for name, is_given in given.items() if is_given)
        raise UserError(f"{name} is of SentencePiece models; use it with --kind=sentencepiece")
