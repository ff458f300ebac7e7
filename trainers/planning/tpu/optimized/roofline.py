"""What a chip's speed and memory allow at best (Williams and others 2009)."""

import dataclasses

from trainers.planning.tpu.chips import Chip


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Bounds of one step on one device.

    Attributes:
        intensity: operations for each byte to and from memory.
        seconds: that the step takes at least.
        bound_by: `compute` or `memory`, whichever takes longer.
        utilization: most that can be had of the chip's peak, of operations that the model's
            definition asks for (MFU).
    """

    intensity: float
    seconds: float
    bound_by: str
    utilization: float


def roofline(flops: float, traffic_bytes: float, model_flops: float, chip: Chip) -> Roofline:
    """The bounds of a program.

    Args:
        flops: that a device does.
        traffic_bytes: between its memory and its cores.
        model_flops: that it would do at least; the rest is computed again, or not the model's.
        chip: what the device is.
    """
    compute = flops / chip.flops_per_second
    memory = traffic_bytes / chip.bytes_per_second
    seconds = max(compute, memory)
    return Roofline(
        intensity=flops / max(traffic_bytes, 1),
        seconds=seconds,
        bound_by="compute" if compute >= memory else "memory",
        utilization=min(model_flops / chip.flops_per_second / max(seconds, 1e-12), 1.0),
    )
