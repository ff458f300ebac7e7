"""`mmstack vocabulary`: captions of manifests to a vocabulary."""

import argparse

from mm_models.errors import UserError

_KINDS = ("word", "sentencepiece", "wordpiece")
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
    parser.add_argument("--kind", choices=_KINDS, default="word")
    parser.add_argument("--size", type=int, default=65536, help="most entries, special included")
    parser.add_argument("--splits", default="train", help="comma-separated splits to read")
    parser.add_argument("--split_shares", default="train=0.8,val=0.1,test=0.1")
    parser.add_argument("--with_questions", action="store_true", help="questions and answers too")
    parser.add_argument("--workers", default="auto", help="worker processes; auto: one per core")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace) -> int:
    """Runs the job and prints the vocabulary's size."""
    if args.size < 16:
        raise UserError(f"--size {args.size}: expected at least 16")
    splits = tuple(args.splits.split(","))
    if not set(splits) <= set(_SPLITS):
        raise UserError(f"--splits {args.splits}: expected some of {', '.join(_SPLITS)}")
    from beam_pipelines.pipelines.runner import import_beam, parse_workers

    import_beam()
    from beam_pipelines import manifest
    from beam_pipelines.pipelines import vocabulary

    config = vocabulary.VocabularyConfig(
        manifest_paths=tuple(args.manifest),
        output=args.output,
        kind=args.kind,
        size=args.size,
        splits=splits,
        split_shares=manifest.parse_split_shares(args.split_shares),
        with_questions=args.with_questions,
        workers=parse_workers(args.workers),
        overwrite=args.overwrite,
        passthrough=tuple(args.passthrough),
    )
    print(f"{vocabulary.run(config)} entries, wrote {args.output}")
    return 0
