"""Which labels of a clip are read."""

import dataclasses

from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class LabelsInputConfig(InputPartConfig):
    """Classes of one example: int32[num_labels], padded with -1.

    Attributes:
        num_labels: most labels of an example; further ones are dropped.
    """

    part = "trainers.data.parts.labels.part:LabelsPart"
    is_content = False

    num_labels: int = 1
