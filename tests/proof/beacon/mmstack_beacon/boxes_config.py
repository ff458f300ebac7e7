"""Which boxes of a clip are read."""

import dataclasses

from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class BoxesInputConfig(InputPartConfig):
    """Where the objects of a clip are on the whole: float32[4].

    Attributes:
        smallest_side: objects narrower than this share of the picture do not count.
    """

    part = "mmstack_beacon.boxes_part:BoxesPart"
    is_content = False

    smallest_side: float = 0.02
