"""What one example costs in a step, counted on traced graphs of shallow models."""

import copy
import dataclasses

import tensorflow as tf

from trainers.config.schema import ExperimentConfig
from trainers.data.parts.base import batch_specs
from trainers.loop.steps import costs
from trainers.loop.steps.costs import GraphCosts
from trainers.planning.rematerialization import set_rematerialize
from trainers.planning.weights import State, deepened, shallow_depths, shallow_model
from trainers.tasks.base import Task


def largest_stream(config: ExperimentConfig, task: Task) -> str:
    """The trained stream with the most tokens in a batch."""
    trained = [name for name, stream in config.streams.items() if stream.weight]
    return max(
        trained,
        key=lambda name: task.tokens_per_example(name) * config.streams[name].input.batch_size,
    )


def example_costs(
    config: ExperimentConfig, task: Task, state: State, stream: str, *, rematerialize: bool | None
) -> GraphCosts:
    """Forward and backward pass of one example, nothing frozen in the backward one.

    Args:
        config: of the experiment.
        task: built from it.
        state: of all its weights; says which are trained.
        stream: whose examples.
        rematerialize: compute blocks again in the backward pass, where the model can; None: as the
            experiment says.
    """
    config = dataclasses.replace(config, task=copy.deepcopy(config.task))
    if rematerialize is not None:
        set_rematerialize(config.task.model, rematerialize)
    deeper = shallow_depths(task)
    base = _trace(config, task, state, stream, deeper.pop(1))
    others = (
        (depth - 1, dataclasses.astuple(_trace(config, task, state, stream, depths)))
        for depth, depths in deeper.items()
    )
    return GraphCosts(*deepened(dataclasses.astuple(base), others))


def _trace(
    config: ExperimentConfig, task: Task, state: State, stream: str, depths: dict[str, int]
) -> GraphCosts:
    shallow, model = shallow_model(config, depths)
    # Sizes of a batch are those of the experiment's streams, which a model is built without.
    shallow.streams = task.streams
    members = [one for group in shallow.variable_groups(model).values() for one in group]
    variables = [variable for variable in members if variable.path in state.slots]
    rule = shallow.gradient_rule(model, variables, stream=stream, mean=True)

    def step(batch):
        seed, number = tf.zeros([2], tf.int32), tf.zeros([], tf.int64)
        terms, gradients = rule.gradients(rule.forward, batch, seed, number)
        return terms.loss.sum, [tf.convert_to_tensor(one) for one in gradients if one is not None]

    one_example = dataclasses.replace(config.streams[stream].input, batch_size=1)
    return costs.count(tf.autograph.experimental.do_not_convert(step), batch_specs(one_example))
