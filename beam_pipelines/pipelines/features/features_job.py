"""What a job that computes features is asked to do."""

import dataclasses
from collections.abc import Mapping

from beam_pipelines.pipelines.job_config import RecordJob


@dataclasses.dataclass(frozen=True)
class GridConfig:
    """What decides the features.

    Attributes:
        rate_hz: steps per second.
        rows, columns: regions of a step, to which larger maps are pooled.
        batch_size: steps that go through the encoder at once, where it takes any number.
        window_seconds: what the encoder sees of a clip around the middle of each step; 0 for just
            the step.
        keep_frames, keep_sound: whether records keep what the features were made of, and sound.
    """

    rate_hz: float = 1.0
    rows: int = 3
    columns: int = 3
    batch_size: int = 16
    window_seconds: float = 0.0
    keep_frames: bool = False
    keep_sound: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesJob(RecordJob):
    """A job that computes features of the clips of a record folder.

    Attributes:
        records: record folder to read; may be a URL.
        encoder: SavedModel, or a folder of its numbered versions; may be a URL.
        grid: what decides the features.
    """

    records: str
    encoder: str
    grid: GridConfig = GridConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hdf5Job(RecordJob):
    """A job that reads stored features.

    Attributes:
        folders: of HDF5 files, by split; may be URLs.
        encoder: what records name as the encoder.
        grid: their rate, and the regions to which larger grids are pooled.
    """

    folders: Mapping[str, str]
    encoder: str
    grid: GridConfig = GridConfig()
