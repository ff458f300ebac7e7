"""What a beacon is made of."""

import dataclasses


@dataclasses.dataclass
class BeaconConfig:
    """Sizes of the model.

    Attributes:
        width: of the hidden layer.
        num_samples, sample_rate_hz: of the sound that it makes.
        lowest_hz, highest_hz: its pitches.
    """

    width: int = 64
    num_samples: int = 2000
    sample_rate_hz: int = 8000
    lowest_hz: float = 200.0
    highest_hz: float = 1100.0
