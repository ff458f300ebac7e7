"""Training of a convolutional backbone of several levels on classes of images."""

import dataclasses
from collections.abc import Mapping

from mm_models.backbones.levels import classifier
from mm_models.backbones.levels import config as levels_config
from mm_models.backbones.levels.classifier import LevelsClassifier, LevelsClassifierConfig
from mm_models.backbones.levels.load_weights import load_weights
from mm_models.errors import UserError
from trainers.config.schema import StreamConfig
from trainers.tasks.classification.task import ClassificationTask, ClassificationTaskConfig


@dataclasses.dataclass
class LevelsClassificationTaskConfig(ClassificationTaskConfig):
    """What is trained; `ClassificationTaskConfig` has the fields of all classifiers.

    Attributes:
        name: `levels_classification`.
        model: the backbone and its classifier, whose `num_classes` is filled in.
    """

    name: str = "levels_classification"
    model: LevelsClassifierConfig = dataclasses.field(default_factory=LevelsClassifierConfig)


class LevelsClassificationTask(ClassificationTask):
    """Classes of images; several frames of a clip are averaged.

    Attributes:
        config: with class names, and their number in the model too, filled in.
    """

    config: LevelsClassificationTaskConfig

    def __init__(self, config: LevelsClassificationTaskConfig, streams: Mapping[str, StreamConfig]):
        """Raises UserError when the streams do not fit the model, or lack labels."""
        super().__init__(config, "video", streams)
        model = dataclasses.replace(self.config.model, num_classes=self.config.num_classes)
        model = classifier.resolve(model)
        self.config = dataclasses.replace(self.config, model=model)
        for name, stream in streams.items():
            video = stream.input.video
            if (video.height, video.width) != (model.visual.height, model.visual.width):
                raise UserError(
                    f"streams.{name}.input.video has {video.height} x {video.width} pixels, but "
                    f"task.model.visual takes {model.visual.height} x {model.visual.width}; make "
                    "them equal"
                )

    def build_model(self) -> LevelsClassifier:
        """The classifier with every weight created."""
        return LevelsClassifier(self.config.model)

    def initialize(self, model: LevelsClassifier) -> list[str]:
        """Weights that Keras wrote into the backbone, where the config names a file."""
        return load_weights(model.visual)

    def tokens_per_example(self, stream: str) -> int:
        shapes = levels_config.shapes_of(self.config.model.visual).values()
        regions = sum(rows * columns for rows, columns, _ in shapes)
        return self.streams[stream].input.video.num_frames * regions
