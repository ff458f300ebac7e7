"""What the demo made, as one table."""

import json
import pathlib

from export.demo.stages import DemoPaths


def print_summary(paths: DemoPaths, answers: dict) -> None:
    """Prints counts, rejects, scores against chance, the served answer and where to look next."""
    answer = f"{answers['answer']} (probability {answers['probability']:.2f})"
    rows = [
        *_data_rows(paths.records),
        *_score_rows(paths),
        ("served answer for a new clip", f"{answer}, the clip shows {answers['truth']}"),
        ("stages", _stage_times(paths)),
    ]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    print(f"\nTensorBoard:  tensorboard --logdir {paths.run}")
    print(f"serve again:  mmstack serve --export_dir={paths.exported}")
    print(f"ask again:    mmstack query --video={answers['clip']} --text=one --text=two \\")
    print(f"                --export_dir={paths.exported}")


def _data_rows(records: pathlib.Path) -> list[tuple[str, str]]:
    info = json.loads((records / "dataset_info.json").read_text(encoding="utf-8"))
    counts = info["counts"]
    splits = ", ".join(f"{name} {split['num_records']}" for name, split in info["splits"].items())
    return [
        ("items in", str(counts["items"])),
        ("records", f"{counts['records']} ({splits})"),
        ("rejected items", str(counts["rejected_items"])),
    ]


def _score_rows(paths: DemoPaths) -> list[tuple[str, str]]:
    report = json.loads(paths.evaluation.read_text(encoding="utf-8"))
    rows = []
    for name, chances in report["chance"].items():
        for metric, chance in chances.items():
            score = report["scores"][name][metric]
            rows.append((f"{name} {metric}", f"{score:.3f}  (chance {chance:.3f})"))
    return rows


def _stage_times(paths: DemoPaths) -> str:
    stamps = [json.loads(path.read_text(encoding="utf-8")) for path in paths.stamps.glob("*.json")]
    return f"{sum(stamp['seconds'] for stamp in stamps):.0f} s in all before serving"
