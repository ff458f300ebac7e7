"""What a preprocessing job prints when it is done."""

from typing import Any


def print_report(info: dict[str, Any], output: str) -> None:
    """Prints counts in and out, rejects by code, and the splits."""
    for line in report_lines(info, output):
        print(line)


def report_lines(info: dict[str, Any], output: str) -> list[str]:
    """Lines of the report.

    Args:
        info: content of dataset_info.json, with `reject_codes`.
        output: record folder.
    """
    counts = info["counts"]
    rows = [
        ("items in", counts["items"]),
        ("items with records", counts["items_with_records"]),
        ("items rejected", counts["rejected_items"]),
        ("clips rejected", counts["rejected_clips"]),
        ("records", counts["records"]),
    ]
    rows += [
        (f"  {name}", f"{split['num_records']} in {len(split['shards'])} shard(s)")
        for name, split in info["splits"].items()
    ]
    rows += [(f"reject {code}", number) for code, number in sorted(info["reject_codes"].items())]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    equation = f"{counts['items']} = {counts['items_with_records']} + {counts['rejected_items']}"
    return [*lines, f"checked: items in = with records + rejected ({equation})", f"wrote {output}"]
