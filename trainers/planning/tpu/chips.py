"""The TPUs that steps can be compiled for: their memory and what bounds their speed."""

import dataclasses
import math
import re

from mm_models.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one device of a TPU has.

    A device is what TensorFlow and the compiler count: a whole chip, but of v4 one of its two
    cores, with half of the chip's memory and speed.

    Attributes:
        name: as in `v5e:4x4`.
        memory_bytes: of high bandwidth memory, as far as the compiler lets a program have it.
        flops_per_second: peak of matrix products in bfloat16, as published.
        bytes_per_second: peak between that memory and the cores, as published.
        num_axes: of a topology.
        cores: devices of one chip.
    """

    name: str
    memory_bytes: int
    flops_per_second: float
    bytes_per_second: float
    num_axes: int
    cores: int = 1


# Speeds: Google Cloud's pages of each version. Memory: what the compiler (libtpu 0.0.42.1) says is
# there when it refuses a program that needs more.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", int(15.25 * GIB), 137.5e12, 614e9, 3, cores=2),
        Chip("v5e", int(15.75 * GIB), 197e12, 819e9, 2),
        Chip("v5p", int(95.74 * GIB), 459e12, 2765e9, 3),
        Chip("v6e", int(31.25 * GIB), 918e12, 1640e9, 2),
    )
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A slice to compile for.

    Attributes:
        topology: its name, such as `v5e:4x4`.
        chip: what each device is.
        num_devices: in the slice.
    """

    topology: str
    chip: Chip
    num_devices: int


def parse_target(text: str) -> Target:
    """The slice of `--compile`. Raises UserError for a name that is none."""
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)+)", text)
    chip = CHIPS.get(match.group(1)) if match else None
    sizes = [int(size) for size in match.group(2).split("x")] if match else []
    if chip is None or len(sizes) != chip.num_axes or 0 in sizes:
        raise UserError(
            f"--compile is {text!r}; give a chip and its topology, such as v5e:4x4, v6e:2x2, "
            "v4:2x2x1 or v5p:2x2x1"
        )
    return Target(text, chip, math.prod(sizes) * chip.cores)
