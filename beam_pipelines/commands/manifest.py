"""`mmstack manifest`: make a manifest from a folder or a table, or check one."""

import argparse

from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sources as sub-commands."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="source")
    folder = sources.add_parser("folder", help="a folder of media with sidecar captions")
    folder.add_argument("--folder", required=True, help="folder, local or URL")
    folder.add_argument(
        "--labels_from_folders", action="store_true", help="label items by their folder's name"
    )
    table = sources.add_parser("csv", help="a CSV table, one media item a row")
    table.add_argument("--table", required=True, help="CSV file, local or URL")
    table.add_argument("--media_column", default="file")
    table.add_argument("--id_column", default="", help="default: the media path")
    table.add_argument(
        "--caption_columns", default="caption", help="comma-separated; empty for none"
    )
    table.add_argument("--label_column", default="")
    table.add_argument("--split_column", default="", help="train, val or test")
    table.add_argument("--language_column", default="")
    table.add_argument("--delimiter", default=",")
    for source in (folder, table):
        source.add_argument("--output", required=True, help="manifest to write, local or URL")
        source.add_argument("--overwrite", action="store_true", help="replace an existing output")
    check = sources.add_parser("check", help="check a manifest")
    check.add_argument("--manifest", required=True, help="manifest, local or URL")


def run(args: argparse.Namespace) -> int:
    """Runs the chosen source and prints counts."""
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    if args.source == "check":
        return _check(args.manifest)
    return _make(args)


def _check(path: str) -> int:
    """Checks every line, and that ids are unique and local media are there."""
    from beam_pipelines import files, manifest

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
    from beam_pipelines.sources.writer import write_manifest

    base, found = _folder_items(args) if args.source == "folder" else _table_items(args)
    number, rejects = write_manifest(args.output, base, found, overwrite=args.overwrite)
    print(f"items found     {number + len(rejects)}")
    print(f"items written   {number}")
    print(f"items rejected  {len(rejects)}")
    for reject in rejects[:10]:
        print(f"  {reject['id']}: {reject['code']}: {reject['detail']}")
    if rejects:
        print(f"all rejects are in {args.output}.rejects.jsonl")
    print(f"wrote {args.output}")
    return 0


def _folder_items(args: argparse.Namespace):
    from beam_pipelines.sources.folder import read_folder

    return args.folder, read_folder(args.folder, labels_from_folders=args.labels_from_folders)


def _table_items(args: argparse.Namespace):
    from beam_pipelines import files
    from beam_pipelines.sources.csv_table import ColumnMapping, read_csv

    mapping = ColumnMapping(
        media=args.media_column,
        id=args.id_column,
        captions=tuple(name for name in args.caption_columns.split(",") if name),
        label=args.label_column,
        split=args.split_column,
        language=args.language_column,
    )
    if len(args.delimiter) != 1:
        raise UserError(f"--delimiter {args.delimiter!r}: expected one character")
    return files.parent(args.table), read_csv(args.table, mapping, delimiter=args.delimiter)
