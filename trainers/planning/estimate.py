"""The hand-made estimate of a step: from shapes and traced graphs, without a compiler."""

import dataclasses

from trainers import runs
from trainers.config.checks import accumulation_steps
from trainers.config.schema import ExperimentConfig
from trainers.planning.example_costs import example_costs
from trainers.planning.memory import state_bytes
from trainers.planning.weights import all_weights, state_of


@dataclasses.dataclass(frozen=True)
class StepEstimate:
    """One stream's step on one device.

    Attributes:
        memory_bytes: state, gradients and what the backward pass reads.
        flops: of matrix products and convolutions that the model's definition asks for; what is
            computed again is not among them.
    """

    memory_bytes: int
    flops: float


def estimates(
    config: ExperimentConfig, examples: dict[str, int], num_parts: int
) -> dict[str, StepEstimate]:
    """Estimates by stream.

    Args:
        config: of the experiment.
        examples: of each stream on one replica.
        num_parts: devices that share one copy of the model.

    Raises:
        UserError: a weight without a rule, or an axis that does not divide.
    """
    task = runs.build_task(config)
    # Shallow models are built without streams, whose data may have named the classes.
    config = dataclasses.replace(config, task=task.config)
    state = state_of(config, all_weights(config, task))
    held = state_bytes(state, num_parts).total
    found = {}
    for stream, count in examples.items():
        asked = example_costs(config, task, state, stream, rematerialize=False)
        kept = example_costs(config, task, state, stream, rematerialize=None)
        at_once = count // accumulation_steps(config, stream)
        activations = at_once * (kept.activation_bytes - kept.copy_bytes)
        memory = held + activations + kept.copy_bytes // num_parts
        found[stream] = StepEstimate(memory, asked.flops * count)
    return found
