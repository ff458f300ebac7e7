"""Inputs of a dry run: records where they are, and the shapes that the config declares elsewhere.

Experiments of a published size can so be looked at on a machine that has none of their data.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mm_models.config_tools import travelling_files
from mm_models.errors import UserError
from trainers import initialization
from trainers.config.schema import ExperimentConfig
from trainers.data.parts.base import batch_specs
from trainers.data.pipeline import slice_of
from trainers.data.validation import validate
from trainers.evaluation.config import inputs_in
from trainers.loop.inputs import Inputs


@dataclasses.dataclass(frozen=True)
class DeclaredPlan:
    """What an input would read; `str` gives it as lines of text.

    Attributes:
        absent: files and folders that it names and that are not there.
        shapes: tensor name to the shape and dtype of one global batch.
    """

    absent: Sequence[str]
    shapes: dict[str, str]

    def __str__(self) -> str:
        """A line for what is absent, and one per tensor."""
        lines = [f"not there, so shapes are as declared: {', '.join(self.absent)}"]
        return "\n".join([*lines, *(f"  {name}: {shape}" for name, shape in self.shapes.items())])


class DeclaredInputs:
    """Asks other inputs where all that an input names is there."""

    def __init__(self, inputs: Inputs):
        """Takes what reads the records."""
        self._inputs = inputs

    def plan(self, input_config: Any, name: str) -> Any:
        """What would be read. Raises UserError for fields that cannot work."""
        gone = absent(input_config)
        if not gone:
            return self._inputs.plan(input_config, name)
        validate(input_config, name)
        specs = batch_specs(input_config).items()
        shapes = {key: f"{spec.dtype.name}{spec.shape.as_list()}" for key, spec in specs}
        return DeclaredPlan(gone, shapes)

    def build_train_dataset(
        self,
        input_config: Any,
        *,
        seed: int,
        start_step: int,
        input_context: tf.distribute.InputContext | None,
    ) -> tf.data.Dataset:
        """Batches; where there are none, a data set that only has their shapes."""
        if not absent(input_config):
            return self._inputs.build_train_dataset(
                input_config, seed=seed, start_step=start_step, input_context=input_context
            )
        rows = slice_of(input_config, input_context).batch_size
        specs = batch_specs(dataclasses.replace(input_config, batch_size=rows))
        return tf.data.Dataset.from_generator(lambda: iter(()), output_signature=specs)

    def contents(self, input_config: Any) -> Mapping[str, str]:
        """What the data sets hold; nothing where they are absent."""
        return {} if absent(input_config) else self._inputs.contents(input_config)

    def check(self, input_config: Any, name: str, *, seed: int, num_classes: int) -> list[str]:
        """What the first records and batch hold; nothing where there are none."""
        if absent(input_config):
            return []
        return self._inputs.check(input_config, name, seed=seed, num_classes=num_classes)

    def describe(self, example_ids: Sequence[int], input_config: Any) -> list[Any]:
        """Keys and texts of examples, for people."""
        return self._inputs.describe(example_ids, input_config)


def absent(input_config: Any) -> list[str]:
    """Record folders, patterns without files, vocabularies and models that an input names in
    vain."""
    paths = [dataset.path for dataset in input_config.datasets.values() if dataset.path]
    gone = [path for path in dict.fromkeys(paths) if not _is_there(path)]
    return [*gone, *absent_files(input_config)]


def absent_files(config: Any) -> list[str]:
    """Vocabularies and other files, and models, that a config names in vain."""
    paths = dict.fromkeys(file.path for file in travelling_files(config))
    return [path for path in paths if not _is_there(path)]


def without_absent(config: ExperimentConfig) -> tuple[ExperimentConfig, list[str]]:
    """The experiment without evaluators, runs to start from and a TPU that are not there, and a
    line for each of those."""
    runtime, notes = config.runtime, []
    if runtime.distribution_strategy == "tpu" and runtime.tpu != "local":
        notes.append("counted as one replica on this machine, which is no TPU")
        runtime = dataclasses.replace(
            runtime, distribution_strategy="one_device", tpu="", model_parallel=1
        )
    evaluators, sources = dict(config.evaluators), dict(config.initialize)
    for name, evaluator in config.evaluators.items():
        inputs = dict(inputs_in(evaluator, f"evaluators.{name}")).values()
        gone = list(dict.fromkeys(path for each in inputs for path in absent(each)))
        if gone:
            notes.append(f"evaluators.{name} is left out: {', '.join(gone)} is not there")
            del evaluators[name]
    for name, source in config.initialize.items():
        try:
            initialization.check_sources({name: source})
        except (UserError, tf.errors.OpError):
            field = f"initialize.{name}.model_dir"
            notes.append(f"{field} is {source.model_dir!r}, which is not there: random weights")
            del sources[name]
    there = dataclasses.replace(config, evaluators=evaluators, initialize=sources, runtime=runtime)
    return there, notes


def _is_there(path: str) -> bool:
    return bool(tf.io.gfile.exists(path) or tf.io.gfile.glob(path))
