"""`mmstack demo`: the whole path on a sample corpus, one command, restartable."""

import argparse
import pathlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's flags."""
    parser.add_argument("--work_dir", default="runs/demo", help="where everything is written")
    parser.add_argument("--config_file", default="configs/demo.yaml", help="experiment")
    parser.add_argument("--num_train", type=int, default=3000, help="training clips")
    parser.add_argument("--num_val", type=int, default=200, help="validation clips")
    parser.add_argument("--num_test", type=int, default=600, help="test clips")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="override of the experiment"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the stages that are not done yet, serves the result, asks it, and prints a table."""
    from export.demo.serving import serve_and_query
    from export.demo.stages import DemoPaths, build_stages, run_stages
    from export.demo.table import print_summary

    paths = DemoPaths(pathlib.Path(args.work_dir))
    paths.stamps.mkdir(parents=True, exist_ok=True)
    stages = build_stages(paths, args)
    run_stages(stages, paths)
    print(f"[{len(stages) + 1}/{len(stages) + 1}] serve and query", flush=True)
    answers = serve_and_query(paths)
    print_summary(paths, answers)
    return 0
