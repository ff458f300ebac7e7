"""`mmstack plan`: what an experiment needs on so many devices."""

import argparse

from mm_models import checks
from mm_models.errors import UserError
from trainers.commands import flags

_EPILOG = (
    "No weight is allocated and no record is read, so that the largest models can be planned "
    "anywhere. Activations are what the backward pass reads, not divided by --model_parallel, and "
    "without what a compiler adds or saves."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.epilog = _EPILOG
    flags.add_config_files(parser)
    flags.add_overrides(parser)
    parser.add_argument("--num_devices", type=int, default=1, help="accelerators in all")
    parser.add_argument(
        "--model_parallel", type=int, default=1, help="devices that share one copy of the weights"
    )
    parser.add_argument(
        "--device_memory_gib", default="16,32,95", help="sizes of a device's memory, with commas"
    )
    parser.add_argument(
        "--no_activations",
        action="store_true",
        help="leave out operations and activations, for which the step is traced",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the plan; raises UserError for mistakes."""
    from trainers.config.loading import load_config
    from trainers.planning.report import Devices, report

    for name in ("num_devices", "model_parallel"):
        checks.check_at_least(getattr(args, name), 1, f"--{name}")
    devices = Devices(args.num_devices, args.model_parallel, _sizes(args.device_memory_gib))
    config = load_config(args.config_file, args.overrides)
    print(report(config, devices, activations=not args.no_activations))
    return 0


def _sizes(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"--device_memory_gib is {text!r}; give numbers with commas between them, such as 16,32"
        ) from error
