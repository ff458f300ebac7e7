"""Builds every part of an experiment in the order that fails cheapest first."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import keras
import orbit
import tensorflow as tf

from mm_models.errors import UserError
from trainers import distribution, initialization, runs
from trainers.config.checks import accumulation_steps, check_batches
from trainers.config.schema import ExperimentConfig
from trainers.data.parts.base import batch_specs
from trainers.loop.inputs import Inputs
from trainers.loop.steps import costs
from trainers.loop.steps.compiled_step import CompiledStep, StepParts
from trainers.loop.steps.step import TrainStep
from trainers.loop.steps.summed import SummedStep
from trainers.model_parallel.splitting import split_like, split_weights
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import NamedOptimizer, build_optimizers
from trainers.planning.sharding import check_heads
from trainers.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Assembly:
    """The parts of a run.

    Attributes:
        config: resolved experiment.
        strategy: where replicas live.
        task, model: what is learned.
        step: int64[] global step.
        optimizers: by name.
        averages: or None.
        train_steps: compiled step by stream; streams of weight 0 have none.
        summed: one step of all streams, where the losses are summed, or None.
        inputs: where batches come from.
        initialized: what weights were started from, by name of the source; none: random ones.
        notes: what the task says about a new run's weights.
    """

    config: ExperimentConfig
    strategy: tf.distribute.Strategy
    task: Task
    model: keras.Model
    step: tf.Variable
    optimizers: Mapping[str, NamedOptimizer]
    averages: Averages | None
    train_steps: Mapping[str, TrainStep]
    summed: SummedStep | None
    inputs: Inputs
    initialized: Mapping[str, initialization.Initialized] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def num_replicas(self) -> int:
        """Replicas over all workers."""
        return self.strategy.num_replicas_in_sync

    def named_variables(self) -> list[tuple[str, tf.Variable]]:
        """Everything a step may change, by the name that reports give it."""
        named = [(each.path, each.value) for each in self.model.variables]
        for name, optimizer in self.optimizers.items():
            named += [
                (f"{name}: {each.path}", each.value)
                for group in optimizer.groups
                for each in group.optimizer.variables
            ]
        if self.averages is not None:
            named += [(each.name.partition(":")[0], each) for each in self.averages.values]
        return [*named, ("step", self.step)]

    @property
    def steps(self) -> dict[tuple[str, ...], CompiledStep]:
        """What runs a step, by the streams that it takes batches of."""
        found = self.train_steps.values() if self.summed is None else [self.summed]
        return {step.streams: step for step in found}


def prepare(config: ExperimentConfig, inputs: Inputs) -> tuple[tf.distribute.Strategy, Task]:
    """Strategy and task, and every check that needs no weights. Raises UserError."""
    # TensorFlow's first operation fixes the devices and collectives of a process, and already a
    # vocabulary is one: the strategy comes before all that opens files.
    strategy = distribution.start(config.runtime)
    check_batches(config, strategy.num_replicas_in_sync)
    for name, stream in config.streams.items():
        inputs.plan(stream.input, f"streams.{name}.input")
    return strategy, runs.build_task(config)


def check_host_memory(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> None:
    """Raises UserError for batches of which not even one fits in this host's memory."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    hosts = distribution.num_hosts(strategy)
    for name, stream in config.streams.items():
        specs = batch_specs(stream.input).values()
        size = sum(spec.shape.num_elements() * spec.dtype.size for spec in specs) // hosts
        if size > memory_bytes:
            raise UserError(
                f"streams.{name}.input.batch_size is {stream.input.batch_size}, of which one batch "
                f"takes {size / 2**30:,.0f} GiB of the {memory_bytes / 2**30:,.0f} GiB that this "
                "machine has; use a smaller one"
            )


def assemble(
    config: ExperimentConfig,
    inputs: Inputs,
    strategy: tf.distribute.Strategy,
    task: Task,
    *,
    from_source: bool = False,
    is_new: bool = False,
) -> Assembly:
    """Creates weights, slots and averages under the strategy, and wires the steps.

    Args:
        config, inputs, strategy, task: see `Assembly`.
        from_source: start from the weights that `config.initialize` names.
        is_new: let the task give a new run's weights what it has for them.

    Raises:
        UserError: those weights do not fit, optimizers and variables do not, or the model cannot be
            split over the devices of a replica.
    """
    # Read before the model is built, which sets the seed of what stays random.
    sources = initialization.read_sources(config.initialize) if from_source else {}
    num_parts = config.runtime.model_parallel
    if num_parts > 1:
        check_heads(task.config.model, num_parts)
    with strategy.scope():
        with split_weights(num_parts):
            model = runs.build_model(task, config)
        initialized = {
            name: initialization.initialize(
                model, source, config.initialize[name], seed=config.trainer.seed, name=name
            )
            for name, source in sources.items()
        }
        notes = task.initialize(model) if is_new else []
        step = orbit.utils.create_global_step()
        weights = task.variable_groups(model)
        with split_like(weights, config.trainer.optimizers, num_parts):
            optimizers = build_optimizers(
                config.trainer.optimizers,
                weights,
                step=step,
                train_steps=config.trainer.train_steps,
            )
            averages = runs.build_averages(task, model, config)
    settings = (strategy, config.trainer, config.runtime.jit_compile, num_parts)
    parts = StepParts(task, model, optimizers, averages, step, *settings)
    train_steps = {
        name: TrainStep(name, parts, accumulation_steps=accumulation_steps(config, name))
        for name, stream in config.streams.items()
        if stream.weight > 0
    }
    return Assembly(
        config,
        strategy,
        task,
        model,
        step,
        optimizers,
        averages,
        train_steps,
        _summed(config, train_steps, parts),
        inputs,
        initialized,
        notes,
    )


def _summed(
    config: ExperimentConfig, train_steps: Mapping[str, TrainStep], parts: StepParts
) -> SummedStep | None:
    if config.trainer.alternation.combine != "sum":
        return None
    weights = {name: config.streams[name].weight for name in train_steps}
    return SummedStep([train_steps[name] for name in sorted(train_steps)], weights, parts)


def replica_batch_spec(assembly: Assembly, stream: str) -> dict[str, tf.TensorSpec]:
    """Shapes of one replica's batch, from the data set's own declaration; reads no example."""
    context = None
    if not distribution.is_single(assembly.strategy):
        context = tf.distribute.InputContext(1, 0, assembly.num_replicas)
    dataset = assembly.inputs.build_train_dataset(
        assembly.config.streams[stream].input,
        seed=assembly.config.trainer.seed,
        start_step=0,
        input_context=context,
    )
    return dict(dataset.element_spec)


def step_costs(assembly: Assembly, stream: str) -> costs.GraphCosts:
    """Forward and backward costs of one replica's batch of `stream`."""
    train_step = assembly.train_steps[stream]
    return costs.count(train_step.local_gradients, replica_batch_spec(assembly, stream))
