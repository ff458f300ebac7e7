import dataclasses

from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class RegionsInputConfig(InputPartConfig):
    part = "tests.trainers.data.regions.part:RegionsPart"

    num_regions: int = 2
    jitter: float = 0.0
