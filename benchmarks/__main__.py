"""`python -m benchmarks`: runs every benchmark in a process of its own, prints ratios, writes them.

Each module offers `run() -> list[dict]` with the keys `name`, `ours`, `alternative`, `ratio`,
`aim`, `met` and `unit`; `ours` and `alternative` are medians of alternating rounds. Its `SMALLEST`
names those of its constants, and their values, with which it runs in a short time and proves no
more than that it runs (`--smallest`).

The file of results is written anew after each benchmark, so that what is interrupted loses one.
"""

import argparse
import importlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

MODULES = (
    *("decode", "decoding", "preprocess", "input", "train_step", "drop_token", "harmonization"),
    *("mixture_of_experts", "serving", "tpu_programs"),
)
ROW = "{name:<58} {ours:>12} {alternative:>12} {ratio:>7} {aim:>8} {met:>4}"


def main() -> int:
    """Runs the chosen benchmarks and returns 0 when all of them ran, met or not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("modules", nargs="*", help=f"which of {', '.join(MODULES)}; default all")
    parser.add_argument("--output", default="", help="JSON file for the results")
    parser.add_argument(
        "--smallest",
        action="store_true",
        help="run as little as can be: numbers mean nothing",
    )
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        module = importlib.import_module(f"benchmarks.{args.modules[0]}")
        for name, value in module.SMALLEST.items() if args.smallest else ():
            setattr(module, name, value)
        rows = module.run()
        pathlib.Path(args.child).write_text(json.dumps(rows), encoding="utf-8")
        return 0
    unknown = set(args.modules) - set(MODULES)
    if unknown:
        parser.error(f"no such benchmark: {sorted(unknown)}; there are {', '.join(MODULES)}")
    rows: list[dict] = []
    failed = []
    try:
        for module, found in _run_all(args.modules or MODULES, smallest=args.smallest):
            rows += found or []
            failed += [module] if found is None else []
            if args.output:
                _write(pathlib.Path(args.output), rows)
    except KeyboardInterrupt:
        failed.append("interrupted")
    _print_table(rows)
    return 1 if failed else 0


def _run_all(modules: Sequence[str], *, smallest: bool) -> Iterator[tuple[str, list[dict] | None]]:
    """Each benchmark's rows as it ends; None where it failed."""
    for module in modules:
        start = time.monotonic()
        result = pathlib.Path(f".tmp-benchmark-{os.getpid()}-{module}.json")
        command = [sys.executable, "-m", "benchmarks", module, f"--child={result}"]
        command += ["--smallest"] if smallest else []
        print(f"{module} ...", flush=True)
        try:
            status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
            found = None if status else json.loads(result.read_text(encoding="utf-8"))
        finally:
            result.unlink(missing_ok=True)
        outcome = "done" if status == 0 else f"FAILED with exit code {status}"
        print(f"{module} {outcome} in {time.monotonic() - start:.0f} s", flush=True)
        yield module, found


def _print_table(rows: list[dict]) -> None:
    header = {key: key for key in ("name", "ours", "alternative", "ratio", "aim", "met")}
    print("\n" + ROW.format(**header))
    for row in rows:
        print(
            ROW.format(
                name=f"{row['name']} [{row['unit']}]",
                ours=f"{row['ours']:.4g}",
                alternative=f"{row['alternative']:.4g}",
                ratio=f"{row['ratio']:.2f}",
                aim=str(row["aim"]),
                met="yes" if row["met"] else "NO",
            )
        )


def _write(path: pathlib.Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    text = json.dumps({"machine": machine, "results": rows}, indent=2)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"written to {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
