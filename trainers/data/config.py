"""What a stream reads: data sets, and the parts of its examples. Imports no TensorFlow."""

import dataclasses
from typing import TYPE_CHECKING

from mm_models.config_tools import ResumeRules
from mm_models.errors import UserError
from trainers import registry
from trainers.data.parts.part_config import InputPartConfig

if TYPE_CHECKING:
    from trainers.data.parts.audio.config import AudioInputConfig
    from trainers.data.parts.features.config import FeaturesInputConfig
    from trainers.data.parts.labels.config import LabelsInputConfig
    from trainers.data.parts.phrases.config import PhrasesInputConfig
    from trainers.data.parts.prompted.config import PromptedInputConfig
    from trainers.data.parts.text.config import TextInputConfig
    from trainers.data.parts.video.config import VideoInputConfig


@dataclasses.dataclass
class DatasetConfig:
    """One record folder as written by `mmstack preprocess`, or foreign TFRecords with renamed keys.

    Attributes:
        path: folder with `dataset_info.json`, or a glob of TFRecord shards; may be a remote URL.
        split: split name; ignored for a glob.
        weight: share of examples drawn from this data set, relative to the others of the stream.
        feature_names: our record key → the key in these files, for foreign records.
        caption_styles: keep only captions of these styles (empty: all).
        caption_languages: keep only captions in these languages (empty: all).
        may_lack: parts of the input, such as `text`, that no record of this data set need have; any
            other one that its first records lack is a mistake.
        corrupt_policy: `fail`, or `skip` up to `corrupt_share_limit`.
        share: read only this share of the records, chosen by a hash of their numbers and
            `share_seed`, whatever their labels; a smaller share is part of every larger one.
        share_seed: another seed chooses other records.
    """

    # Folders may move: what is in them is compared beside the config.
    resume = ResumeRules(
        noted=("caption_styles", "caption_languages", "corrupt_policy", "corrupt_share_limit"),
        allowed=("path", "may_lack"),
        unordered=("feature_names",),
    )

    path: str = ""
    split: str = "train"
    weight: float = 1.0
    feature_names: dict[str, str] = dataclasses.field(default_factory=dict)
    caption_styles: list[str] = dataclasses.field(default_factory=list)
    caption_languages: list[str] = dataclasses.field(default_factory=list)
    may_lack: list[str] = dataclasses.field(default_factory=list)
    corrupt_policy: str = "fail"
    corrupt_share_limit: float = 0.001
    share: float = 1.0
    share_seed: int = 0


@dataclasses.dataclass
class SharedInputConfig:
    """One stream's examples, apart from their parts.

    Attributes:
        datasets: data sets by name; each batch mixes them by weight.
        batch_size: global batch size.
        prefetch_batches: batches prepared ahead.
        num_parallel_calls: batches decoded at the same time; 0 takes one per core.
    """

    resume = ResumeRules(allowed=("prefetch_batches", "num_parallel_calls"))

    datasets: dict[str, DatasetConfig] = dataclasses.field(default_factory=dict)
    batch_size: int = 64
    prefetch_batches: int = 2
    num_parallel_calls: int = 0

    @property
    def parts(self) -> dict[str, InputPartConfig]:
        """What is read, by the name of the part."""
        configs = {name: getattr(self, name) for name in PART_CONFIGS}
        return {name: config for name, config in configs.items() if config is not None}

    @property
    def num_views(self) -> int:
        """Evaluation views per clip, those of the part that has most."""
        return max((config.num_views for config in self.parts.values()), default=1)


def _part_configs() -> dict[str, type[InputPartConfig]]:
    shared = {field.name for field in dataclasses.fields(SharedInputConfig)}
    found = registry.input_parts()
    for name in shared & set(found):
        raise UserError(f"an input part is called {name!r}, as a field of every input; rename it")
    return {name: registry.resolve(reference) for name, reference in found.items()}


PART_CONFIGS = _part_configs()

if TYPE_CHECKING:

    @dataclasses.dataclass
    class InputConfig(SharedInputConfig):
        """One stream's examples; a part that is null is not read."""

        video: VideoInputConfig | None = None
        audio: AudioInputConfig | None = None
        text: TextInputConfig | None = None
        prompted: PromptedInputConfig | None = None
        features: FeaturesInputConfig | None = None
        phrases: PhrasesInputConfig | None = None
        labels: LabelsInputConfig | None = None

else:
    InputConfig = dataclasses.make_dataclass(
        "InputConfig",
        [(name, config | None, None) for name, config in PART_CONFIGS.items()],
        bases=(SharedInputConfig,),
        namespace={
            "__module__": __name__,
            "__doc__": "One stream's examples; a part that is null is not read.",
        },
    )
