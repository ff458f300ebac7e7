"""A model of two backbones that others publish weights of."""

import keras

from mm_models.backbones.t5 import T5
from mm_models.backbones.t5_config import T5Config
from mm_models.backbones.vit import Vit, VitConfig

VISION = VitConfig(size="debug", pool="map")


class Pair(keras.Model):
    """Both backbones, and a weight that no public file has."""

    def __init__(self, vision: VitConfig = VISION):
        super().__init__(name="pair")
        self.vision = Vit(vision, name="vision")
        self.language = T5(T5Config(size="debug"), name="language")
        self.join = keras.layers.Dense(16, name="join")
        self.join.build((None, 16))
        self.built = True
