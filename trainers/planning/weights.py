"""Every weight of an experiment by path and shape, with none of them allocated."""

import copy
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import keras
import tensorflow as tf

from trainers import registry, runs
from trainers.config.schema import ExperimentConfig
from trainers.optimization.optimizers import trained_groups
from trainers.optimization.slot_shapes import COUNTER_BYTES, slot_axes
from trainers.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight that is not there.

    Attributes:
        path, shape: of the variable; float32.
        optimizer: name of the one that may train it; empty for none.
    """

    path: str
    shape: tuple[int, ...]
    optimizer: str

    @property
    def size(self) -> int:
        """Entries."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class State:
    """What a run keeps, on all of its devices together one copy.

    Attributes:
        weights: all of them.
        slots: the axes of every slot, by path of its weight, of those that are trained.
        counter_bytes: of the optimizers' counters.
        averaged: whether trained weights have averages.
    """

    weights: list[Weight]
    slots: Mapping[str, list[tuple[int, ...]]]
    counter_bytes: int
    averaged: bool


def shallow_model(config: ExperimentConfig, depths: Mapping[str, int]) -> tuple[Task, keras.Model]:
    """Task and model with stacks of other depths, in a graph that is never run.

    The task has no streams, so that no file of theirs is needed.

    Args:
        config: of the experiment.
        depths: by dotted field of `task.model`.
    """
    task_config = with_depths(config, depths).task
    task = registry.resolve(registry.system(config.task.name).task)(task_config, {})
    with tf.Graph().as_default():
        return task, runs.build_model(task, config)


def with_depths(config: ExperimentConfig, depths: Mapping[str, int]) -> ExperimentConfig:
    """The experiment with stacks of other depths, by dotted field of `task.model`."""
    config = dataclasses.replace(config, task=copy.deepcopy(config.task))
    for field, depth in depths.items():
        *parts, last = field.split(".")
        part = config.task.model
        for name in parts:
            part = getattr(part, name)
        setattr(part, last, depth)
    return config


def shallow_depths(task: Task, least: int = 1) -> dict[int, dict[str, int]]:
    """Depths for `with_depths` by depths of the model's stacks: one block more than `least` in the
    stacks that are so deep, which can grow together, and `least` in the others; under `least`, no
    more than that in every stack.

    What grows evenly with the blocks follows for a model of any depth (`deepened`).
    """
    depths = task.stack_depths()
    deeper = [depth for depth in depths.values() if depth > least]
    return {
        depth: {field: min(own, least + (own == depth > least)) for field, own in depths.items()}
        for depth in dict.fromkeys([least, *deeper])
    }


def deepened(
    base: Sequence[float], deeper: Iterable[tuple[int, Sequence[float]]]
) -> tuple[float, ...]:
    """Figures of a deep model, which grow evenly with its blocks, from those of shallow ones.

    Args:
        base: of the shallowest.
        deeper: of one block more in some stacks, and how many times that block is to be added.
    """
    total = tuple(base)
    for times, figures in deeper:
        more = zip(total, base, figures, strict=True)
        total = tuple(value + times * (other - first) for value, first, other in more)
    return total


def all_weights(config: ExperimentConfig, task: Task) -> list[Weight]:
    """The weights of the experiment's model.

    The blocks of a stack are alike: models of one and of two blocks tell what all of them hold.

    Args:
        config: of the experiment.
        task: built from it.
    """
    deeper = shallow_depths(task)
    base = _weights(*shallow_model(config, deeper.pop(1)))
    known = {weight.path for weight in base}
    for depth, depths in deeper.items():
        more = _weights(*shallow_model(config, depths))
        second = [weight for weight in more if weight.path not in known]
        base += [_renumbered(weight, index) for index in range(1, depth) for weight in second]
    return base


def _weights(task: Task, model: keras.Model) -> list[Weight]:
    owners = {
        variable.path: name
        for name, members in task.variable_groups(model).items()
        for variable in members
    }
    return [
        Weight(variable.path, tuple(variable.shape), owners.get(variable.path, ""))
        for variable in model.weights
    ]


def _renumbered(weight: Weight, index: int) -> Weight:
    """The like of a second block's weight in another block."""
    path = re.sub(r"_1(?=/)", f"_{index}", weight.path, count=1)
    return dataclasses.replace(weight, path=path)


def state_of(config: ExperimentConfig, weights: list[Weight]) -> State:
    """What is kept for these weights. Raises UserError for groups that take none of them."""
    slots: dict[str, list[tuple[int, ...]]] = {}
    counter_bytes = 0
    for name, optimizer in config.trainer.optimizers.items():
        members = [weight for weight in weights if weight.optimizer == name]
        for _, taken in trained_groups(name, optimizer, members):
            counter_bytes += COUNTER_BYTES
            for weight in taken:
                slots[weight.path] = list(slot_axes(optimizer, weight.shape).values())
    return State(weights, slots, counter_bytes, config.trainer.ema.decay > 0)
