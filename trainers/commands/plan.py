"""`mmstack plan`: what an experiment needs on so many devices."""

import argparse
from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from trainers.commands import flags

_EPILOG = (
    "No weight is allocated and no record is read, so that the largest models can be planned "
    "anywhere. Activations are what the backward pass reads, not divided by --model_parallel, and "
    "without what a compiler adds or saves; with --compile the TPU compiler says what it is "
    "(docs/tpu.md)."
)

# Flags that say what a device is and what to count, which with --compile the slice and the program
# do; and those that every experiment of a folder answers for itself.
_BY_HAND = {"num_devices": 1, "device_memory_gib": "16,32,95", "no_activations": False}
_OF_ONE_EXPERIMENT = {"batch_size": 0, "bisect_batch": False, "model_parallel": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.epilog = _EPILOG
    which = parser.add_mutually_exclusive_group(required=True)
    flags.add_config_files(which, required=False)
    which.add_argument(
        "--config_dir", default="", help="every experiment below a folder, as a table (--compile)"
    )
    flags.add_overrides(parser)
    parser.add_argument(
        "--num_devices", type=int, default=_BY_HAND["num_devices"], help="accelerators in all"
    )
    parser.add_argument(
        "--model_parallel",
        type=int,
        default=0,
        help="devices that share one copy of the weights; 0: as runtime.model_parallel says",
    )
    parser.add_argument(
        "--device_memory_gib",
        default=_BY_HAND["device_memory_gib"],
        help="sizes of a device's memory, with commas",
    )
    parser.add_argument(
        "--no_activations",
        action="store_true",
        help="leave out operations and activations, for which the step is traced",
    )
    _add_compile_arguments(parser)


def _add_compile_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the TPU compiler, which needs no TPU")
    group.add_argument(
        "--compile",
        default="",
        metavar="SLICES",
        help="compile every step for a slice, such as v5e:4x4; of several, with commas, for the "
        "first that holds them all",
    )
    group.add_argument(
        "--batch_size",
        type=int,
        default=0,
        help="examples of a replica; 0: what the experiment's batches come to",
    )
    group.add_argument(
        "--bisect_batch",
        action="store_true",
        help="find the largest batch of a replica, in either precision and with blocks kept and "
        "computed again",
    )
    group.add_argument(
        "--blocks",
        type=int,
        default=0,
        help="of a much deeper model, compile stacks of so many blocks and of one more, and add up "
        "what follows; 0: compile the whole model, which may take long",
    )
    group.add_argument(
        "--results", default="", help="folder of what was compiled, which is not compiled again"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the plan; raises UserError for mistakes."""
    for name in ("num_devices", "batch_size", "model_parallel", "blocks"):
        checks.check_at_least(getattr(args, name), name == "num_devices", f"--{name}")
    _check_compile(args)
    if args.config_dir:
        return _compile_every(args)
    from trainers.config.loading import load_config

    config = load_config(args.config_file, args.overrides)
    if args.compile:
        return _compile(args, config)
    from trainers.planning.report import Devices, report

    model_parallel = args.model_parallel or config.runtime.model_parallel
    devices = Devices(args.num_devices, model_parallel, _sizes(args.device_memory_gib))
    print(report(config, devices, activations=not args.no_activations))
    return 0


def _check_compile(args: argparse.Namespace) -> None:
    """Raises UserError for flags that do not go together, and where the compiler is not."""
    if not args.compile:
        for name in ("batch_size", "bisect_batch", "blocks", "results", "config_dir"):
            if getattr(args, name):
                raise UserError(
                    f"--{name} is for --compile; add --compile=v5e:4x4, or leave it out"
                )
        return
    _refuse(args, "--compile", _BY_HAND)
    if args.bisect_batch:
        _refuse(args, "--bisect_batch", {"blocks": 0, "batch_size": 0})
        if "," in args.compile:
            raise UserError(f"--bisect_batch is for one slice; --compile is {args.compile}")
    if args.config_dir:
        _refuse(args, "--config_dir", _OF_ONE_EXPERIMENT)
    from trainers.planning.tpu import internals

    internals.check_installed()


def _refuse(args: argparse.Namespace, given: str, defaults: dict[str, Any]) -> None:
    """Raises UserError for flags that would be ignored."""
    for name, default in defaults.items():
        if getattr(args, name) != default:
            raise UserError(f"--{name} does not go with {given}; leave one of them out")


def _compile(args: argparse.Namespace, config: Any) -> int:
    from trainers.planning.tpu import plan_text
    from trainers.planning.tpu.compiled_plan import (
        HowToCompile,
        first_that_fits,
        largest_batches,
    )
    from trainers.planning.tpu.every import say
    from trainers.planning.tpu.kept_reports import KeptReports
    from trainers.planning.tpu.placement import placements

    placed = placements(args.compile, args.model_parallel or config.runtime.model_parallel)
    how = HowToCompile(KeptReports(args.results), say, args.batch_size, args.blocks)
    if args.bisect_batch:
        found = largest_batches(config, placed[0], how)
        print(plan_text.largest_text(placed[0], found))
        return 0
    plan = first_that_fits(config, placed, how)
    print(plan_text.plan_text(plan))
    return 0


def _compile_every(args: argparse.Namespace) -> int:
    from trainers.planning.tpu import every

    asked = every.Asked(args.compile, args.overrides, args.blocks, args.results)
    rows = every.compile_every(args.config_dir, asked, every.say)
    print("\n".join(every.markdown(rows)))
    return 0


def _sizes(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"--device_memory_gib is {text!r}; give numbers with commas between them, such as 16,32"
        ) from error
