"""The hand-made estimate of a step: from shapes and traced graphs, without a compiler."""

import dataclasses
from collections.abc import Mapping

from trainers import runs
from trainers.config.checks import accumulation_steps
from trainers.config.schema import ExperimentConfig
from trainers.loop.steps.costs import GraphCosts
from trainers.planning.example_costs import example_costs
from trainers.planning.memory import state_bytes
from trainers.planning.rematerialization import does_rematerialize
from trainers.planning.weights import State, all_weights, state_of


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


@dataclasses.dataclass(frozen=True)
class CountedSteps:
    """What the steps of an experiment cost for each example, from which the estimates of any batch
    follow.

    Attributes:
        config: the experiment.
        state: of all its weights.
        asked: what the model's definition asks of one example, by stream.
        kept: with blocks computed again where the experiment says so.
    """

    config: ExperimentConfig
    state: State
    asked: Mapping[str, GraphCosts]
    kept: Mapping[str, GraphCosts]

    def at(self, examples: Mapping[str, int], num_parts: int) -> dict[str, StepEstimate]:
        """Estimates by stream.

        Args:
            examples: of each stream on one replica.
            num_parts: devices that share one copy of the model.

        Raises:
            UserError: a weight without a rule, or an axis that does not divide.
        """
        held = state_bytes(self.state, num_parts).total
        found = {}
        for stream, count in examples.items():
            at_once = count // accumulation_steps(self.config, stream)
            memory = held + self.kept[stream].kept_bytes(at_once, num_parts)
            found[stream] = StepEstimate(memory, self.asked[stream].flops * count)
        return found


def count_steps(config: ExperimentConfig) -> CountedSteps:
    """Traces an example of each trained stream."""
    task = runs.build_task(config)
    # Shallow models are built without streams, whose data may have named the classes.
    config = dataclasses.replace(config, task=task.config)
    state = state_of(config, all_weights(config, task))
    streams = [name for name, stream in config.streams.items() if stream.weight > 0]

    def count(rematerialize: bool | None) -> dict[str, GraphCosts]:
        return {
            stream: example_costs(config, task, state, stream, rematerialize=rematerialize)
            for stream in streams
        }

    asked = count(rematerialize=False)
    again = does_rematerialize(config.task.model)
    return CountedSteps(config, state, asked, count(rematerialize=None) if again else asked)
