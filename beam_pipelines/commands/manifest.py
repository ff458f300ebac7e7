"""`mmstack manifest`: make a manifest from a folder, table or published layout, or check one."""

import argparse

from beam_pipelines.commands import manifest_phrases, manifest_segments
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sources as sub-commands."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="source")
    folder = sources.add_parser("folder", help="a folder of media with sidecar captions")
    folder.add_argument("--folder", required=True, help="folder, local or URL")
    folder.add_argument(
        "--labels_from_folders", action="store_true", help="label items by their folder's name"
    )
    table = _add_table(sources)
    coco = sources.add_parser("coco", help="COCO caption annotations and a folder of pictures")
    coco.add_argument("--captions", required=True, help="annotation file (JSON), local or URL")
    coco.add_argument("--instances", default="", help="boxes, in COCO's instance format")
    coco.add_argument(
        "--questions",
        default="",
        help="questions (JSON): a list of image_id, question, answer, and optional type, language",
    )
    coco.add_argument(
        "--translations",
        default="",
        help="captions (JSON): a list of image_id and a caption under each language's code",
    )
    coco.add_argument(
        "--phrases",
        default="",
        help="phrases of captions (JSON): a list of image_id, caption, and phrases with start and "
        "end (characters), text, category, and boxes (left, top, right, bottom in pixels)",
    )
    nlvr = sources.add_parser("nlvr", help="NLVR: pictures with a true or false sentence each")
    nlvr.add_argument("--examples", required=True, help="examples (JSON Lines), local or URL")
    text = sources.add_parser("text", help="a text file, a sentence a line; no media")
    text.add_argument("--text", required=True, help="UTF-8 file, local or URL")
    text.add_argument("--language", default="", help="code of the sentences' language")
    for source in (nlvr, text):
        source.add_argument(
            "--split_shares",
            default="train=0.8,val=0.1,test=0.1",
            help="shares of the sentences; no sentence is in two splits",
        )
    segments = manifest_segments.add_arguments(sources)
    phrases = manifest_phrases.add_arguments(sources)
    for source in (coco, nlvr, *phrases):
        source.add_argument("--images", required=True, help="folder of the pictures, local or URL")
    for source in (folder, table, coco):
        source.add_argument(
            "--split_sizes",
            default="",
            metavar="SPLIT=ITEMS,...",
            help="draw splits of exactly these sizes, such as train=420,test=140",
        )
    for source in (folder, table):
        source.add_argument(
            "--encoding", default="", help="of text files that are not UTF-8; default: detected"
        )
    for source in (folder, table, coco, nlvr, text, segments, *phrases):
        source.add_argument("--output", required=True, help="manifest to write, local or URL")
        source.add_argument("--overwrite", action="store_true", help="replace an existing output")
    check = sources.add_parser("check", help="check a manifest")
    check.add_argument("--manifest", required=True, help="manifest, local or URL")


def _add_table(sources) -> argparse.ArgumentParser:
    table = sources.add_parser(
        "csv",
        help="a table (CSV, TSV, JSON), one media item or segment a row",
        description="Columns are found by the names of published tables; options name others.",
    )
    table.add_argument("--table", required=True, help="CSV, TSV or JSON file, local or URL")
    table.add_argument(
        "--media_folder",
        default="",
        help="what media paths are relative to, or where ids are looked up; default: the table's",
    )
    table.add_argument("--media_column", help="paths, or ids that media files are named after")
    table.add_argument("--id_column", default="", help="default: the media path, and the segment")
    table.add_argument("--start_column", help="start of the row's segment; empty for none")
    table.add_argument("--end_column", help="end of the row's segment; empty for none")
    table.add_argument("--caption_columns", help="comma-separated; empty for none")
    table.add_argument("--label_column", help="class names; empty for none")
    table.add_argument(
        "--label_separator", help="between classes of a cell; default: a comma in `..._labels`"
    )
    table.add_argument(
        "--label_index_column", default="", help="class numbers; default: places of sorted names"
    )
    table.add_argument("--split_column", help="train, val or test; empty for none")
    table.add_argument(
        "--split_names",
        default="",
        metavar="CELL=SPLIT,...",
        help="what the split column's cells mean, such as 1=train,2=train,3=test",
    )
    table.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=PATTERN",
        help="only rows whose cell matches the shell-style pattern; may be repeated",
    )
    table.add_argument("--language_column", help="empty for none")
    table.add_argument(
        "--word_times_column",
        default="",
        help="paths of GRID alignments, whose words become timed captions of style `word`",
    )
    table.add_argument("--delimiter", default="", help="default: what the header suggests")
    return table


def run(args: argparse.Namespace) -> int:
    """Runs the chosen source and prints counts."""
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    if args.source == "check":
        return _check(args.manifest)
    return _make(args)


def _check(path: str) -> int:
    """Checks every line, and that ids are unique and local media are there."""
    from beam_pipelines import files
    from beam_pipelines.items import manifest

    ids: dict[str, int] = {}
    missing = []
    for line in manifest.read(path, require_media=False):
        first = ids.setdefault(line.item["id"], line.number)
        if first != line.number:
            raise UserError(
                f"{path} line {line.number}, field id: {line.item['id']!r} is also on line {first}"
            )
        media = manifest.media_path(path, line.item) if "media" in line.item else None
        if media and not files.is_remote(media) and not files.exists(media):
            missing.append((line.number, media))
    if missing:
        number, media = missing[0]
        raise UserError(
            f"{path} line {number}, field media: {media} is missing, "
            f"as are {len(missing) - 1} others; paths are relative to the manifest's folder"
        )
    print(f"{path}: {len(ids)} items, all well-formed, ids unique, local media present")
    return 0


def _make(args: argparse.Namespace) -> int:
    from beam_pipelines.sources.account import Account
    from beam_pipelines.sources.manifest_writer import write_manifest

    account = Account()
    base, found = _SOURCES[args.source](args, account)
    if getattr(args, "split_sizes", ""):
        from beam_pipelines.sources.splits import draw_splits, parse_split_sizes

        found = draw_splits(found, parse_split_sizes(args.split_sizes))
    number, rejects = write_manifest(
        args.output, base, found, overwrite=args.overwrite, account=account
    )
    _print_account(args.output, account, number, rejects)
    return 0


def _print_account(output: str, account, number: int, rejects: list[dict[str, str]]) -> None:
    from beam_pipelines.sources.manifest_writer import NOTES_SUFFIX, REJECTS_SUFFIX

    for line in account.remarks:
        print(line)
    counts = account.tallies | {
        "items found": number + len(rejects),
        "items written": number,
        "items rejected": len(rejects),
    }
    for name, count in counts.items():
        print(f"{name:<16}{count}")
    for reject in rejects[:10]:
        print(f"  {reject['id']}: {reject['code']}: {reject['detail']}")
    if rejects:
        print(f"all rejects are in {output}{REJECTS_SUFFIX}")
    if account.notes:
        print("left out or changed:")
        print("\n".join(f"  {line}" for line in account.lines()))
        print(f"all of it is in {output}{NOTES_SUFFIX}")
    print(f"wrote {output}")


def _checked_encoding(args: argparse.Namespace) -> str:
    import codecs

    try:
        return codecs.lookup(args.encoding).name if args.encoding else ""
    except LookupError:
        raise UserError(
            f"--encoding {args.encoding}: no such encoding; names are such as cp1251, shift_jis"
        ) from None


def _folder_items(args: argparse.Namespace, account):
    from beam_pipelines.sources.folder import read_folder

    found = read_folder(
        args.folder,
        labels_from_folders=args.labels_from_folders,
        encoding=_checked_encoding(args),
        account=account,
    )
    return args.folder, found


def _table_items(args: argparse.Namespace, account):
    from beam_pipelines import files
    from beam_pipelines.sources.csv_table import read_csv

    mapping = _mapping(args)
    _check_split_flags(args, mapping)
    if len(args.delimiter) > 1:
        raise UserError(f"--delimiter {args.delimiter!r}: expected one character")
    folder = args.media_folder or files.parent(args.table)
    found = read_csv(
        args.table,
        mapping,
        delimiter=args.delimiter,
        media_folder=folder,
        encoding=_checked_encoding(args),
        account=account,
    )
    return folder, found


def _mapping(args: argparse.Namespace):
    from beam_pipelines.sources.table_columns import ColumnMapping

    captions = args.caption_columns
    return ColumnMapping(
        media=args.media_column,
        id=args.id_column,
        captions=None if captions is None else tuple(filter(None, captions.split(","))),
        label=args.label_column,
        label_index=args.label_index_column,
        label_separator=args.label_separator,
        # Drawn splits take the place of those that the table names.
        split="" if args.split_sizes and args.split_column is None else args.split_column,
        language=args.language_column,
        word_times=args.word_times_column,
        split_names=_pairs("--split_names", args.split_names.split(",")),
        where=_pairs("--where", args.where),
        start=args.start_column,
        end=args.end_column,
    )


def _coco_items(args: argparse.Namespace, account):
    from beam_pipelines.sources.coco import read_coco
    from beam_pipelines.sources.coco_details import read_details

    details = read_details(
        args.instances, args.questions, args.translations, args.phrases, args.captions
    )
    return args.images, read_coco(args.captions, args.images, details, account)


def _nlvr_items(args: argparse.Namespace, account):
    from beam_pipelines.items.manifest import parse_split_shares
    from beam_pipelines.sources.nlvr import read_nlvr

    shares = parse_split_shares(args.split_shares)
    return args.images, read_nlvr(args.examples, args.images, shares, account)


def _text_items(args: argparse.Namespace, account):
    from beam_pipelines.items.manifest import parse_split_shares
    from beam_pipelines.sources.text_file import read_text_file

    shares = parse_split_shares(args.split_shares)
    return "", read_text_file(args.text, shares, args.language, account)


_SOURCES = {
    "folder": _folder_items,
    "csv": _table_items,
    "coco": _coco_items,
    "nlvr": _nlvr_items,
    "text": _text_items,
    "segments": manifest_segments.segment_items,
    **manifest_phrases.SOURCES,
}


def _pairs(flag: str, pieces: list[str]) -> dict[str, str]:
    """`key=value` pieces as a dict; empty pieces are skipped."""
    pairs = {}
    for piece in filter(None, pieces):
        key, equals, value = piece.partition("=")
        if not key or not equals or key in pairs:
            raise UserError(f"{flag} {piece!r}: expected name=value, and each name once")
        pairs[key] = value
    return pairs


def _check_split_flags(args: argparse.Namespace, mapping) -> None:
    from beam_pipelines.items.schema import SPLITS

    if mapping.split_names and not mapping.split:
        raise UserError("--split_names says what cells mean; name their column by --split_column")
    unknown = sorted(set(mapping.split_names.values()) - set(SPLITS))
    if unknown:
        raise UserError(f"--split_names: {unknown[0]!r} is not one of {', '.join(SPLITS)}")
    if mapping.label_index and not mapping.label:
        raise UserError("--label_index_column numbers the classes that --label_column names")
    if args.split_sizes and mapping.split:
        raise UserError("--split_sizes draws the splits that --split_column names; drop one")
