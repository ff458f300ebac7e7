"""What a preprocessing job is asked to do."""

import dataclasses

from beam_pipelines.pipelines.preprocess_item import PreprocessConfig


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """A preprocessing job.

    Attributes:
        manifest_path, output: what to read and the folder to make; either may be a URL.
        preprocess: what decides the records' content.
        records_per_shard: records a shard holds, about; the number of shards follows from it.
        shards_per_split: number of shards of every split, instead.
        workers: worker processes on this machine.
        overwrite: whether an existing output may be replaced.
        passthrough: options for Beam.
    """

    manifest_path: str
    output: str
    preprocess: PreprocessConfig = PreprocessConfig()
    records_per_shard: int = 1024
    shards_per_split: int | None = None
    workers: int = 1
    overwrite: bool = False
    passthrough: tuple[str, ...] = ()
