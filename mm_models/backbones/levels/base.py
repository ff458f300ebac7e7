"""What every backbone that gives maps of several levels offers."""

import abc

import keras
import tensorflow as tf

from mm_models.backbones.levels import config as levels_config
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.backbones.levels.level_shapes import Shape
from mm_models.errors import UserError
from mm_models.layers.saved_layer import SavedLayer


class LevelsBackbone(SavedLayer, keras.Model, abc.ABC):
    """Images to a map for each of several named levels.

    Every weight exists once the constructor returns. Nothing in it differs in training: statistics
    of batch normalisations stay those of the weights, so that results do not depend on the number
    of replicas. Where the config says that it is not trained, it has no trainable weight and no
    gradient enters it.

    Args:
        config: LevelsConfig of the subclass's kind, or the dict of one.
        name: of the model, with which the paths of its weights begin.

    Call arguments:
        images: float[batch, height, width, 3] in [-1, 1], of the config's height and width.
        training: bool, see above.

    Returns:
        float[batch, rows, columns, channels] by name of the level, in the config's order.

    Raises:
        UserError: a config that makes no sense; images of another size.
    """

    def __init__(self, config: LevelsConfig | dict, name: str = "visual", **kwargs):
        super().__init__(autocast=False, name=name, **kwargs)
        self.config = config = levels_config.as_resolved(config)
        # Here and not layer by layer, so that this model's name stands before theirs.
        self.build()
        self.trainable = config.trainable

    def build(self, input_shape=None):
        """Makes every weight; the second call, when a file is loaded, makes none."""
        if self.built:
            return
        self._make()
        self.built = True

    @abc.abstractmethod
    def _make(self) -> None:
        """Makes every layer and weight."""

    @abc.abstractmethod
    def _levels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The levels' maps; `images` have the config's size and lie in [-1, 1]."""

    def call(self, images, training=False):
        size = (self.config.height, self.config.width)
        if tuple(images.shape[1:3]) != size:
            raise UserError(
                f"images of {images.shape[1]} x {images.shape[2]} pixels do not fit a backbone "
                f"that takes {size[0]} x {size[1]}; set its height and width to those of the images"
            )
        maps = self._levels(images)
        if not self.config.trainable:
            maps = {name: tf.stop_gradient(value) for name, value in maps.items()}
        return {name: maps[name] for name in self.config.levels}

    def maps(self, images, training=False) -> dict[str, tf.Tensor]:
        """The call, by the name that says what it gives."""
        return self(images, training=training)

    def shapes(self, height: int | None = None, width: int | None = None) -> dict[str, Shape]:
        """Rows, columns and channels of the maps, without running.

        Args:
            height, width: pixels of the images; None: those of the config.
        """
        return levels_config.shapes_of(self.config, height, width)
