"""Features of one clip → the values of its record."""

import dataclasses

import numpy as np

from beam_pipelines.record import contract
from beam_pipelines.record.serialize import ContextValues, SequenceValues
from mm_models.signal.region_grid import grid_positions


@dataclasses.dataclass(frozen=True)
class ClipFeatures:
    """What was computed of a clip, step by step.

    Attributes:
        values: float32[steps, rows, columns, dim].
        starts_us: start of each step, on the clock of the media.
        rate_hz: steps per second; 0 when unknown.
        encoder: what computed them.
    """

    values: np.ndarray
    starts_us: list[int]
    rate_hz: float
    encoder: str


def feature_values(clip: ClipFeatures) -> tuple[ContextValues, SequenceValues]:
    """(context, feature lists) that a clip's record has of its features."""
    num_steps, rows, columns, dim = clip.values.shape
    positions = grid_positions(num_steps, rows, columns)
    context: ContextValues = {
        contract.FEATURE_SHAPE: [rows, columns, dim],
        contract.FEATURE_RATE: [clip.rate_hz],
        contract.FEATURE_ENCODER: [clip.encoder.encode()],
    }
    return context, {
        contract.CLIP_FEATURES: list(clip.values.reshape(num_steps, -1)),
        contract.FEATURE_POSITIONS: list(positions.reshape(num_steps, -1)),
        contract.FEATURE_TIMESTAMPS: [[start] for start in clip.starts_us],
    }
