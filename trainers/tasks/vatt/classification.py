"""Fine-tuning of a VATT encoder: classes of clips, sounds and stills."""

import dataclasses
from collections.abc import Mapping

from mm_models.checks import check_choice, check_rate
from mm_models.vatt import config as vatt_config
from mm_models.vatt import token_counts
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.config import VattConfig
from trainers.config.schema import StreamConfig
from trainers.tasks.classification.task import ClassificationTask, ClassificationTaskConfig
from trainers.tasks.vatt import checks as vatt_checks

MODALITIES = ("video", "audio")


@dataclasses.dataclass
class VattClassificationTaskConfig(ClassificationTaskConfig):
    """What is fine-tuned; `ClassificationTaskConfig` has the fields of all classifiers.

    Attributes:
        name: `vatt_classification`.
        model: the pre-trained model's fields; only the encoder of `modality` is built. Where its
            `drop_token_rate` is null, no token is left out (see `drop_token`).
        modality: `video` (stills too: the reader repeats a record of one frame) or `audio`.
        head_dropout_rate: dropout in front of the classifier.
        drop_token: leave out tokens as in pre-training, as the reference code does; the paper does
            not.

    Source: VATT, section 4.1, appendices A.2.5, A.3 and A.3.1.
    """

    name: str = "vatt_classification"
    model: VattConfig = dataclasses.field(default_factory=VattConfig)
    modality: str = "video"
    head_dropout_rate: float = 0.0
    drop_token: bool = False


class VattClassificationTask(ClassificationTask):
    """Classes by one of VATT's encoders.

    Attributes:
        config: resolved: class names, their number and the DropToken rates are filled in.
    """

    config: VattClassificationTaskConfig

    def __init__(self, config: VattClassificationTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when the streams do not fit the model, or lack labels."""
        check_choice(config.modality, MODALITIES, "task.modality")
        check_rate(config.head_dropout_rate, "task.head_dropout_rate")
        model = config.model if config.drop_token else _without_drop_token(config.model)
        super().__init__(dataclasses.replace(config, model=model), config.modality, streams)
        one = dataclasses.replace(config.model, modalities=[config.modality])
        for name, stream in streams.items():
            vatt_checks.check_stream(dataclasses.replace(config, model=one), name, stream.input)

    def build_model(self) -> VattClassifier:
        """The classifier with every weight created."""
        return VattClassifier(
            self.config.model,
            self.config.modality,
            self.config.num_classes,
            self.config.head_dropout_rate,
        )

    def stack_depths(self) -> dict[str, int]:
        """Of the tower, or of the encoder of all."""
        one = dataclasses.replace(self.config.model, modalities=[self.modality])
        return vatt_config.stack_depths(one)

    def tokens_per_example(self, stream: str) -> int:
        return token_counts.num_tokens(self.config.model, self.modality, training=True)


def _without_drop_token(model: VattConfig) -> VattConfig:
    """A copy in which DropToken is off wherever no rate was chosen."""
    towers = {}
    for modality in MODALITIES:
        tower = getattr(model, modality)
        if tower.drop_token_rate is None:
            tower = dataclasses.replace(tower, drop_token_rate=0.0)
        towers[modality] = tower
    return dataclasses.replace(model, **towers)
