"""Mesh TensorFlow's container: a TensorFlow checkpoint of variables by name, in which the first T5
and mT5 were published."""

import os
import re

import numpy as np
import tensorflow as tf

from mm_models.checkpoints.containers.container import Container
from mm_models.checkpoints.mapping import Shape
from mm_models.errors import UserError

TABLE_KEY = "shared/embedding"
STEP_KEY = "global_step"
_SLOT = re.compile(r"_slot_(v|vr|vc|m)$")  # what Adafactor keeps beside a variable
_NAME = "model.ckpt"


class MeshSource:
    """Variables of one checkpoint, without the optimizer's; see `mapping.Source`."""

    settings = None

    def __init__(self, path: str):
        """Opens it. Raises UserError for a damaged one."""
        self.path = path.removesuffix(".index")
        try:
            self._reader = tf.train.load_checkpoint(self.path)
        except (tf.errors.OpError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} cannot be opened ({reason}); copy it again") from error
        found = self._reader.get_variable_to_shape_map()
        self.step = int(self._reader.get_tensor(STEP_KEY)) if STEP_KEY in found else 0
        self.shapes: dict[str, Shape] = {
            key: tuple(shape)
            for key, shape in sorted(found.items())
            if key != STEP_KEY and not _SLOT.search(key)
        }

    def value(self, key: str) -> np.ndarray:
        """One variable. Raises UserError for a damaged file."""
        try:
            return self._reader.get_tensor(key)
        except (tf.errors.OpError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self.path} has a damaged {key} ({reason}); copy it again") from error


class MeshContainer(Container):
    """Files of one checkpoint, written to a folder as `model.ckpt-<step>`, with `global_step`."""

    writes_remote = True

    def recognises(self, path):
        """Whether `path` is the common part of such a checkpoint's files (or the first of them)."""
        path = path.removesuffix(".index")
        try:
            if not tf.io.gfile.exists(f"{path}.index"):
                return False
            return tf.train.load_checkpoint(path).has_tensor(TABLE_KEY)
        except (tf.errors.OpError, ValueError):
            return False  # the container of other TensorFlow checkpoints says what is wrong

    def open_source(self, path):
        return MeshSource(path)

    def _write(self, values, path, extras):
        held = {**dict(values), STEP_KEY: np.int64(extras.step)}
        name = f"{_NAME}-{extras.step}"
        tf.io.gfile.makedirs(path)
        tf.raw_ops.SaveV2(
            prefix=os.path.join(path, name),
            tensor_names=list(held),
            shape_and_slices=[""] * len(held),
            tensors=[tf.constant(value) for value in held.values()],
        )
        return name
