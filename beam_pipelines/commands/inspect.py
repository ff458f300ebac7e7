"""`mmstack inspect`: what is inside records."""

import argparse
import io
import itertools
from collections.abc import Iterator

from beam_pipelines.record import contract
from beam_pipelines.record.survey import Survey, layout, proposed_names, survey
from mm_models.errors import UserError

_SURVEYED = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--data",
        required=True,
        help="record folder, or TFRecord files of anybody: one, or a pattern; local or URL",
    )
    parser.add_argument("--split", default="", help="default: the first one there is")
    parser.add_argument("--num_records", type=int, default=8)
    parser.add_argument("--key", default="", help="show the record with this key only")
    parser.add_argument(
        "--output", default="", help="also draw frames, waveform and captions into this PNG file"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the table and draws the sheet."""
    if args.num_records < 1:
        raise UserError(f"--num_records {args.num_records}: expected at least 1")
    from beam_pipelines.pipelines.runner import import_beam

    import_beam()
    from beam_pipelines import files
    from beam_pipelines.record import reading

    try:
        is_described = files.exists(files.join(args.data, contract.DATASET_INFO))
    except OSError as error:
        raise UserError(f"--data {args.data} cannot be reached: {error}") from error
    if not is_described:
        return _inspect_files(args)
    folder = args.data.rstrip("/")
    info = reading.read_dataset_info(folder)
    split = args.split or next(iter(info["splits"]))
    if args.key:
        examples = [reading.find(folder, split, args.key)]
    else:
        examples = list(itertools.islice(reading.iterate(folder, split), args.num_records))
    if not examples:
        raise UserError(f"--split {split}: {folder} has no records in it")
    for line in [*summary_lines(info), "", *table_lines(examples)]:
        print(line)
    if not args.key:
        contents = _contents(reading.split_shards(folder, split), _SURVEYED)
        print("\n".join(["", *survey_lines(survey(contents))]))
    if args.key:
        print("\n".join(detail_lines(*examples[0])))
    if args.output:
        _write_sheet(examples, args.output)
        print(f"wrote {args.output}")
    return 0


def _inspect_files(args: argparse.Namespace) -> int:
    """Prints what TFRecord files hold that no folder of ours describes."""
    for name in ("split", "key", "output"):
        if getattr(args, name):
            raise UserError(
                f"--{name} is for record folders, and --data={args.data} has no "
                f"dataset_info.json; leave it out"
            )
    from beam_pipelines.record import reading

    paths = reading.find_shards(args.data)
    found = survey(_contents(paths, max(args.num_records, _SURVEYED)))
    print(f"{args.data}: {len(paths)} files")
    print("\n".join([*survey_lines(found), "", *_usage_lines(args.data, found)]))
    return 0


def _contents(paths: list[str], count: int) -> Iterator[bytes]:
    """Up to `count` serialized records of the files in turn. Raises UserError."""
    from beam_pipelines.record import reading

    each = max(1, -(-count // len(paths)))
    for path in paths[:count]:
        yield from itertools.islice(reading.read_shard(path), each)


def survey_lines(found: Survey) -> list[str]:
    """What records hold: a line for each key, with the share of the records that have it."""
    count = found.num_records
    line = f"{count} records looked at, {found.num_repeated} of them equal to another one"
    if found.num_unreadable:
        line += f", {found.num_unreadable} of them neither Example nor SequenceExample"
    if writer := layout(found.keys):
        line += f"; the layout is that of {writer}"
    lines = [line]
    for key, facts in sorted(found.keys.items()):
        share = facts.num_records / count
        where = " and ".join(sorted(facts.places))
        lines.append(f"  {key}: {share:.0%} of the records, {where}, {facts.describe()}")
        lines += [f"    {_pictures(facts.pictures)}"] if facts.pictures else []
    return lines


def _pictures(encoded: list[bytes]) -> str:
    """Sizes of pictures, their range of values, and how many show one colour or cannot be read."""
    import numpy as np
    from PIL import Image

    shown, damaged = [], 0
    for content in encoded:
        try:
            with Image.open(io.BytesIO(content)) as picture:
                shown.append(np.asarray(picture.convert("RGB")))
        except (OSError, ValueError, Image.DecompressionBombError):
            damaged += 1
    constant = sum(not np.ptp(pixels, axis=(0, 1)).any() for pixels in shown)
    line = f"of {len(encoded)} pictures: {constant} of one colour, {damaged} damaged"
    if not shown:
        return line
    sizes = sorted({f"{pixels.shape[0]}x{pixels.shape[1]}" for pixels in shown})
    more = f" and {len(sizes) - 4} other sizes" if len(sizes) > 4 else ""
    values = (min(pixels.min() for pixels in shown), max(pixels.max() for pixels in shown))
    return f"{line}, {', '.join(sizes[:4])}{more} pixels, values {values[0]} to {values[1]}"


def _usage_lines(data: str, found: Survey) -> list[str]:
    """What to write into an experiment to read these records."""
    names = proposed_names(found.keys)
    known = [key for key in contract.FEATURES if found.has(key)]
    if not names and not known:
        return ["none of these keys looks like something that can be trained on"]
    entries = ", ".join(f"{ours}: {theirs}" for ours, theirs in names.items())
    mapped = f", feature_names: {{{entries}}}" if names else ""
    return ["to read them:", f"  datasets: {{found: {{path: {data!r}{mapped}}}}}"]


def _write_sheet(examples: list, output: str) -> None:
    from beam_pipelines import files
    from beam_pipelines.record.contact_sheet import contact_sheet

    png = io.BytesIO()
    contact_sheet(examples).save(png, "PNG")
    try:
        files.write_bytes(output, png.getvalue())
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error}") from error


def summary_lines(info: dict) -> list[str]:
    """Lines about the whole data set."""
    counts = info["counts"]
    media = ", ".join(f"{name} {value}" for name, value in info["media"].items())
    lines = [
        f"{info['name']}: {counts['items']} items, {counts['rejected_items']} rejected, "
        f"{counts['records']} records; {media}"
    ]
    if told := info.get("clip_features"):
        shape = "x".join(str(told[name]) for name in ("rows", "columns", "dim"))
        lines.append(f"  features: {shape} at {told['rate_hz']:g} Hz, by {told['encoder']}")
    for name, split in info["splits"].items():
        size_bytes = sum(shard["size_bytes"] for shard in split["shards"])
        lines.append(
            f"  {name}: {split['num_records']} records, {len(split['shards'])} shards, "
            f"{size_bytes / 1e6:.1f} MB"
        )
    return lines


def table_lines(examples: list) -> list[str]:
    """A table with one line per record."""

    def row(context: dict) -> tuple[str, ...]:
        frames, height, width = (
            context[key][0] for key in (contract.NUM_FRAMES, contract.HEIGHT, contract.WIDTH)
        )
        rate = context[contract.SAMPLE_RATE][0]
        seconds = context[contract.NUM_SAMPLES][0] / rate if rate else 0.0
        captions = [caption.decode() for caption in context.get(contract.CAPTION, [])]
        return (
            context[contract.CLIP_KEY][0].decode(),
            f"{frames} x {height}x{width}" if frames else "-",
            f"{seconds:.2f} s" if rate else "-",
            ",".join(label.decode() for label in context.get(contract.LABEL_TEXT, [])) or "-",
            str(len(captions)),
            " ".join(captions[0].split())[:60] if captions else "-",
        )

    rows = [("key", "frames", "sound", "labels", "captions", "first caption")]
    rows += [row(context) for context, _ in examples]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def detail_lines(context: dict, lists: dict) -> list[str]:
    """Every feature of one record: dtype, length, and the first values."""
    lines = []
    for key, values in sorted(context.items()):
        lines.append(f"  {key} [{len(values)}] {_preview(values)}")
    for key, steps in sorted(lists.items()):
        lines.append(f"  {key} [{len(steps)} steps x {len(steps[0])}] {_preview(steps[0])}")
    return lines


def _preview(values: list) -> str:
    shown = [_short(value) for value in values[:6]]
    return ", ".join(shown) + (", ..." if len(values) > 6 else "")


def _short(value: bytes | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return str(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return text[:60] if text.isprintable() else f"<{len(value)} bytes>"
