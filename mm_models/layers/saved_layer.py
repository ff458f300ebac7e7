"""The base of the layers and models that are saved by the arguments of their constructor."""

import dataclasses
import inspect

import keras


class SavedLayer(keras.layers.Layer):
    """A layer whose config is every argument of its constructor, read from the attribute so named.

    Models name it before `keras.Model`. Dataclasses become dicts, which constructors take too.
    """

    def get_config(self):
        arguments = inspect.getfullargspec(type(self).__init__)
        config = super().get_config()
        for name in arguments.args[1:] + arguments.kwonlyargs:
            value = getattr(self, name)
            config[name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)
