"""What a job that writes a record folder is asked to do."""

import dataclasses

from beam_pipelines.pipelines.preprocess_item import PreprocessConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordJob:
    """A job that writes a record folder.

    Attributes:
        output: the folder to make; may be a URL.
        workers: worker processes on this machine.
        max_rejected_share: share of the items, and of the clips, that may be rejected in a job that
            writes its output.
        overwrite: whether an existing output may be replaced.
        shared_filesystem: whether workers on other machines see this machine's paths.
        passthrough: options for Beam.
    """

    output: str
    workers: int = 1
    max_rejected_share: float = 0.2
    overwrite: bool = False
    shared_filesystem: bool = False
    passthrough: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobConfig(RecordJob):
    """A preprocessing job.

    Attributes:
        manifest_path: what to read; may be a URL.
        preprocess: what decides the records' content.
        records_per_shard: records a shard holds, about; the number of shards follows from it.
        shards_per_split: number of shards of every split, instead.
    """

    manifest_path: str
    preprocess: PreprocessConfig = PreprocessConfig()
    records_per_shard: int = 1024
    shards_per_split: int | None = None
