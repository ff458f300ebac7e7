"""`mmstack train`: runs an experiment."""

import argparse

from trainers.commands import flags
from trainers.loop import preemption

_EPILOG = (
    "exit codes: 0 done, 2 a mistake in the call or config, 42 asked to stop and saved (SIGTERM or "
    "Ctrl-C; the same command resumes), 43 a loss or gradient was no number"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags; those that tf-models has carry its names."""
    parser.epilog = _EPILOG
    flags.add_config_files(parser)
    parser.add_argument("--model_dir", default="", help="run folder, local or remote")
    parser.add_argument(
        "--mode",
        default="train_and_eval",
        choices=("train", "eval", "train_and_eval", "continuous_eval"),
    )
    parser.add_argument(
        "--from_step",
        type=int,
        help="go back to the checkpoint of this step; newer ones are renamed to left-…; the same "
        "command resumes",
    )
    flags.add_overrides(parser)
    parser.add_argument("--tpu", default="", help="name or address of a TPU, or local")
    parser.add_argument("--distribution_strategy", default="", help="overrides the runtime's")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="build and trace, print parameters, FLOPs, memory and data plan, write nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Loads the experiment and runs it; raises UserError for mistakes."""
    stop = preemption.StopSignal()
    with stop.listening():
        try:
            # Loading TensorFlow takes seconds.
            with stop.interrupting():
                from trainers.config.loading import load_config
                from trainers.loop.modes import run_experiment

                config = load_config(args.config_file, overrides_of(args))
            return run_experiment(
                config,
                mode=args.mode,
                model_dir=args.model_dir,
                dry=args.dry_run,
                from_step=args.from_step,
                stop=stop,
            )
        except preemption.StopRequested:
            return preemption.leave()


def overrides_of(args: argparse.Namespace) -> list[str]:
    """`--set` overrides, then the flags that stand for one."""
    overrides = list(args.overrides)
    if args.tpu:
        overrides += ["runtime.distribution_strategy=tpu", f"runtime.tpu={args.tpu}"]
    if args.distribution_strategy:
        overrides.append(f"runtime.distribution_strategy={args.distribution_strategy}")
    return overrides
