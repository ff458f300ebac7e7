"""`mmstack study`: trains variants of an experiment over seeds and compares them."""

import argparse
import pathlib
import sys

from mm_models import checks
from trainers.commands import flags

_EPILOG = (
    "The same command goes on where it was stopped: finished runs are kept, others resume from "
    "their checkpoint. Exit codes: 0 done, 1 some runs failed, 2 a mistake in the call or a "
    "config, 42 asked to stop"
)
_FAILED_EXIT_CODE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.epilog = _EPILOG
    parser.add_argument("--study_file", required=True, help="study YAML, as in configs/studies")
    parser.add_argument("--output_dir", required=True, help="local folder of runs and report")
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of each run; 0 lets TensorFlow choose"
    )
    parser.add_argument(
        "--levels",
        action="append",
        default=[],
        metavar="factor=level,level",
        help="train these levels of a factor; may be repeated (default: those of the file)",
    )
    parser.add_argument("--seeds", default="", help="comma-separated, instead of the file's")
    flags.add_overrides(parser, "override one field of every run; may be repeated")
    parser.add_argument(
        "--metrics",
        default="",
        help="comma-separated, as logged: report these instead of the file's",
    )
    parser.add_argument(
        "--report_name", default="report", help="beginning of the names of the report's files"
    )
    parser.add_argument("--only", default="", help="shell pattern of the names of runs to train")
    parser.add_argument(
        "--dry_run", action="store_true", help="check and list runs and commands, write nothing"
    )
    parser.add_argument(
        "--report_only", action="store_true", help="train nothing, report what is finished"
    )


def run(args: argparse.Namespace) -> int:
    """Prepares, trains and reports; raises UserError for mistakes."""
    from trainers.study import config, plan

    checks.check_at_least(args.parallel, 1, "--parallel")
    checks.check_at_least(args.threads, 0, "--threads")
    study = config.load_study(args.study_file, args.levels, args.seeds, args.metrics)
    runs = plan.plan_runs(study, args.output_dir, args.overrides)
    code = 0 if args.report_only else train(study, runs, args)
    if not args.dry_run:
        report(study, runs, pathlib.Path(args.output_dir), args.report_name)
    return code


def train(study, runs: list, args: argparse.Namespace) -> int:
    """Trains what is not finished; the exit code."""
    from trainers.study import plan, preparation, scheduler

    chosen = plan.select(runs, args.only)
    jobs = []
    for one in chosen:
        resolved = plan.resolve(study, one)
        plan.check_folder(one, resolved)
        if not one.finished:
            jobs.append(scheduler.Job(one, resolved, plan.train_steps(resolved)))
    steps = preparation.pending(study, [job.run for job in jobs])
    if args.dry_run:
        list_plan(chosen, steps)
        return 0
    say(f"{len(chosen) - len(jobs)} of {len(chosen)} runs are finished, {len(jobs)} to do")
    preparation.prepare(steps, say)
    engine = scheduler.Scheduler(parallel=args.parallel, threads=args.threads, say=say)
    if not engine.run(jobs):
        return scheduler.STOPPED_EXIT_CODE
    return _FAILED_EXIT_CODE if engine.failed or engine.skipped else 0


def list_plan(runs: list, steps: list) -> None:
    """Prints the commands that would run and the runs with their overrides."""
    for step in steps:
        print(f"prepare: mmstack {step.run}")
    for one in runs:
        state = "finished" if one.finished else "to do"
        print(f"{one.name} ({state})")
        print("\n".join(f"    {override}" for override in one.overrides))
    print(f"{len(runs)} runs, {sum(one.finished for one in runs)} finished")


def report(study, runs: list, folder: pathlib.Path, name: str) -> None:
    """Writes tables and pictures to files that begin with `name`, and prints the table."""
    from trainers.study import pictures, results, tables
    from trainers.study.plan import write_bytes

    found = results.collect(study, runs)
    text = tables.markdown(found)
    files = {
        f"{name}.md": text.encode(),
        f"{name}.csv": tables.comma_separated(found).encode(),
        f"{name}.json": tables.as_json(found).encode(),
        f"{name}.png": pictures.final_picture(found),
        f"{name}_curves.csv": tables.curves_comma_separated(found).encode(),
        f"{name}_curves.png": pictures.curves_picture(found),
    }
    for file_name, content in files.items():
        write_bytes(folder / file_name, content)
    print(text)
    print(f"written to {folder}: {', '.join(files)}")


def say(line: str) -> None:
    """A line of progress, beside the report on standard output."""
    print(line, file=sys.stderr, flush=True)
