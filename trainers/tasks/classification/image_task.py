"""Training of a vision transformer on classes of images, as a backbone of other systems."""

import dataclasses
from collections.abc import Mapping

from mm_models.backbones import vit_config
from mm_models.backbones.image_classifier import ImageClassifier
from mm_models.backbones.vit_config import VitConfig
from trainers.config.schema import StreamConfig
from trainers.tasks.classification.task import ClassificationTask, ClassificationTaskConfig


@dataclasses.dataclass
class VitClassificationTaskConfig(ClassificationTaskConfig):
    """What is trained; `ClassificationTaskConfig` has the fields of all classifiers.

    Attributes:
        name: `vit_classification`.
        model: the vision transformer, with a pooling; its `num_classes` is filled in.

    Source: PaLI, section 3.1; big_vision (sigmoid loss, `model.head_bias: -10`, `model.pool: map`).
    """

    name: str = "vit_classification"
    model: VitConfig = dataclasses.field(default_factory=lambda: VitConfig(pool="map"))


class VitClassificationTask(ClassificationTask):
    """Classes of images; several frames of a clip are averaged.

    Attributes:
        config: with class names, and their number in the model too, filled in.
    """

    config: VitClassificationTaskConfig

    def __init__(self, config: VitClassificationTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when the streams do not fit the model, or lack labels."""
        super().__init__(config, "video", streams)
        model = dataclasses.replace(self.config.model, num_classes=self.config.num_classes)
        model = vit_config.resolve(model)
        self.config = dataclasses.replace(self.config, model=model)
        for stream in streams.values():
            video = stream.input.video
            vit_config.grid_of(model, video.height, video.width)

    def build_model(self) -> ImageClassifier:
        """The classifier with every weight created."""
        return ImageClassifier(self.config.model)

    def stack_depths(self) -> dict[str, int]:
        """Of the vision transformer."""
        return {"depth": self.config.model.depth}

    def tokens_per_example(self, stream: str) -> int:
        video = self.streams[stream].input.video
        rows, columns = vit_config.grid_of(self.config.model, video.height, video.width)
        return video.num_frames * (rows * columns + (self.config.model.pool == "cls"))
