"""Which stored features of a clip are read."""

import dataclasses

from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class FeaturesInputConfig(InputPartConfig):
    """Features of one example: float32[num_steps * rows * columns, dim], of a frozen encoder.

    Attributes:
        num_steps: most steps of an example; shorter clips are padded.
        rows, columns: regions of a step, those of the records. Zeros read one vector a step, the
            mean over the regions of whatever grid the records have.
        dim: numbers of a region's features, those of the records.
        sampling: which steps of a longer clip are kept: its first ones (`truncate`), or as many
            spread evenly over it (`uniform`).

    Source: R3 Transformer, section 4 (50 steps of 3 x 3 regions, truncated).
    """

    part = "trainers.data.parts.features.part:FeaturesPart"

    num_steps: int = 50
    rows: int = 3
    columns: int = 3
    dim: int = 0
    sampling: str = "truncate"
