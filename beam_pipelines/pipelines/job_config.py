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
        max_rejected_share: share of the items, and of the clips, that may be rejected in a job that
            writes its output.
        overwrite: whether an existing output may be replaced.
        shared_filesystem: whether workers on other machines see this machine's paths.
        passthrough: options for Beam.
    """

    manifest_path: str
    output: str
    preprocess: PreprocessConfig = PreprocessConfig()
    records_per_shard: int = 1024
    shards_per_split: int | None = None
    workers: int = 1
    max_rejected_share: float = 0.2
    overwrite: bool = False
    shared_filesystem: bool = False
    passthrough: tuple[str, ...] = ()
