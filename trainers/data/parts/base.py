"""What a part of an input is: one kind of content of an example, such as its video or its labels.

A part is a folder: a config (`part_config.py`) and a class, which answers for all that shared code
asks. Readers, plan, identity of the order, planning and `--dry_run` ask the parts of an input and
know none of them. `trainers/registry.py` names the configs, the config names the class:

    registry    INPUT_PARTS["regions"] = "somewhere.config:RegionsInputConfig", or a system's
                `input_parts`; in YAML the part is then `input.regions`
    config.py   a dataclass of plain fields from `InputPartConfig`, with `part = "module:Class"`;
                imports no TensorFlow
    part.py     the class from `InputPart`

Its methods are asked in this order:

1. `validate`: fields that cannot work, without files. `stored_fault`: those that do not go
   with a record folder.
2. `wanted`: keys of the record. `specs`: the tensors of a batch.
3. `open`: loads what reading needs, such as a vocabulary. `plan`: lines for people.
   `example_source`: where the examples come from; at most one part of an input says that.
4. `prepare`: whole batches of parsed records to tensors, and `decode`: what is left to do for each
   example, such as decoding pictures. Both run in the graph; batches are a function of (seed,
   step), so what is random follows from the `draws` (`draw_columns.py`) and `seeds` of the rows.
5. `decode_all`: decodes all of a record, to find the one that made a batch fail.
6. `held_fault`, `present`, `lacks` and `faults`: what the first records must hold, which is
   looked at before anything is compiled (trainers/data/first_batch.py).
7. `facts` and `panels`: what a batch holds, in numbers and in pictures.

A tensor `<part>_mask: float32[batch]` says which rows have the part, where some may lack it.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from beam_pipelines.record.survey import Survey
from trainers import registry
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.reading.example_source import ExampleSource
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch
from trainers.evaluation.pictures.panels import Panel

Parsed = Mapping[str, tf.RaggedTensor]


class Prepared(NamedTuple):
    """A part of a batch, as far as whole batches at once go.

    Attributes:
        batch: finished tensors by name.
        examples: what `decode` needs, by name: dtype[batch, ...].
    """

    batch: dict[str, tf.Tensor]
    examples: dict[str, tf.Tensor] = {}


class InputPart(abc.ABC):
    """One part of an input.

    Attributes:
        config: of the part.
        inputs: of the whole input, for what depends on its neighbours.
        input_field, field: where input and part stand in the experiment, for messages.
        name: of the part in its input.
        contents: kinds of bytes (`beam_pipelines/record/survey.py`) that can be read of our keys.
    """

    contents: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, config: Any, inputs: InputConfig, input_field: str, name: str):
        """Takes the configs as given; opens nothing."""
        self.config = config
        self.inputs = inputs
        self.input_field = input_field
        self.name = name
        self.field = f"{input_field}.{name}"

    @property
    @abc.abstractmethod
    def wanted(self) -> Wanted:
        """Keys of a record that the part's tensors are made of."""

    @abc.abstractmethod
    def validate(self) -> None:
        """Raises UserError for a field that cannot work, naming it, its value and the remedy."""

    @abc.abstractmethod
    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """The part's tensors of a batch by name, its mask among them."""

    @abc.abstractmethod
    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Makes tensors of parsed records.

        Args:
            parsed: key to ragged dtype[batch, (values)], of at least the keys that are wanted.
            raw: data sets, draws and seeds of the rows, as tensors.
        """

    def decode(
        self, example: Mapping[str, tf.Tensor], draws: tf.Tensor, seed: tf.Tensor, parsed: Parsed
    ) -> dict[str, tf.Tensor]:
        """The tensors of `specs` that `prepare` left out, for one example.

        Args:
            example: one row of `Prepared.examples`.
            draws: float32[purposes] the row's uniform numbers.
            seed: int32[2] the row's seed.
            parsed: as in `prepare`, of the whole batch.
        """
        return {}

    def stored_fault(self, dataset: DatasetConfig, info: Mapping[str, Any]) -> str:
        """Why a record folder does not go with the part, and the remedy; empty where it does.

        Args:
            dataset: its configuration.
            info: content of its `dataset_info.json`; empty for foreign records.
        """
        return ""

    def open(self, indexes: Sequence[RecordIndex], *, seed: int, training: bool) -> None:
        """Loads what `prepare` and `decode` need.

        Args:
            indexes: the input's data sets.
            seed: experiment seed.
            training: whether to augment; else evaluation takes `num_views` of each example.

        Raises:
            UserError: a file that cannot be read, or does not go with the part.
        """
        self.training = training

    def example_source(self) -> ExampleSource | None:
        """Of an opened part, where examples come from; None for every record in turn."""
        return None

    def plan(self) -> Any:
        """Of an opened part, what `str` shows below its stream's data sets; None for nothing."""
        return None

    def decode_all(self, parsed: Parsed) -> list[tf.Tensor]:
        """All that a record, parsed as a batch of one, has encoded. Raises a TensorFlow error."""
        return []

    def held_fault(self, survey: Survey, dataset: DatasetConfig) -> str:
        """Why what records hold does not go with the part, and the remedy; empty where it does.

        Args:
            survey: of records of a data set.
            dataset: its configuration.
        """
        return ""

    def present(self, batch: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """bool[batch]: which rows have the part; None where it may not be missing from any.

        Args:
            batch: tensors that `prepare` made, by name.
        """
        mask = batch.get(f"{self.name}_mask")
        return None if mask is None else mask > 0

    def lacks(self, survey: Survey, dataset: DatasetConfig) -> str:
        """Why no record of a data set has the part, as a clause; asked where none of many has.

        Args:
            survey: what these records hold.
            dataset: its configuration.
        """
        keys = [dataset.feature_names.get(key, key) for key in self.wanted.dtypes]
        missing = [repr(key) for key in keys if not survey.has(key)]
        return (
            f"they have no {' and no '.join(missing)}" if missing else "nothing in them is of use"
        )

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """What of a batch nothing can be learned from, a clause each that ends in the remedy.

        Args:
            batch: by name. What `decode` makes is there in the first batch, and not in the larger
                samples of each data set, for which parts look for it.
            num_classes: classes that labels may name; 0 where that is not known.
        """
        return []

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """What the real rows of a batch hold, by words for it: shares in [0, 1], ranges, counts."""
        return {}

    def panels(
        self,
        batch: Mapping[str, tf.Tensor],
        described: Sequence[tuple[str, list[str]]],
        *,
        titled: bool,
    ) -> list[Panel]:
        """Pictures and sounds of the first rows of a training batch, with words under them.

        Args:
            batch: by name.
            described: a title and further lines for each row to show.
            titled: whether to put the title under pictures too.
        """
        return []

    def with_views(self, *shape: int) -> list[int]:
        """The shape of an example in evaluation: an axis of views in front, where there are any."""
        views = self.inputs.num_views
        return [views, *shape] if views > 1 else list(shape)


def build_parts(inputs: InputConfig, field: str = "input") -> dict[str, InputPart]:
    """The parts of an input by name. Opens nothing.

    Args:
        inputs: one stream's or evaluator's input.
        field: where it stands in the experiment's configuration, for messages.
    """
    return {
        name: registry.resolve(config.part)(config, inputs, field, name)
        for name, config in inputs.parts.items()
    }


def batch_specs(inputs: InputConfig) -> dict[str, tf.TensorSpec]:
    """Every tensor of a global batch by name."""
    specs: dict[str, tf.TensorSpec] = {}
    for part in build_parts(inputs).values():
        specs |= part.specs(inputs.batch_size)
    rows = [inputs.batch_size]
    return specs | {
        "example_id": tf.TensorSpec(rows, tf.int64),
        "example_mask": tf.TensorSpec(rows, tf.float32),
    }


def rows_with(batch: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """bool[batch]: real rows that have the part `name`."""
    return (batch["example_mask"] > 0) & (batch[f"{name}_mask"] > 0)


def range_facts(values: np.ndarray) -> dict[str, float]:
    """Lowest and highest of `values`; nothing where there are none."""
    if not values.size:
        return {}
    return {"lowest value": float(values.min()), "highest value": float(values.max())}
