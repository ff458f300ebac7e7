"""Reading and writing object-based TensorFlow checkpoints by the names of their variables."""

import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.checkpoints.containers.container import Container
from mm_models.errors import UserError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
STEP_KEY = "optimizer/iter"
# The moments that optimizers keep lie below the variables that they belong to.
_SLOT = "/.OPTIMIZER_SLOT/"
_NAME = "ckpt"


class ObjectCheckpointSource:
    """The variables below one root of a checkpoint.

    Attributes:
        path: without `.index`.
        shapes: int[...] by key, without the suffix; slots of optimizers are left out.
        settings: None, as the format has no place for them.
    """

    settings = None

    def __init__(self, path: str, root: str = "model"):
        """Opens the checkpoint. Raises UserError when there is none, or none of this kind."""
        self.path = path = path.removesuffix(".index")
        try:
            self._reader = tf.train.load_checkpoint(path)
        except (tf.errors.OpError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"--checkpoint={path} cannot be opened ({reason}); give the common part of the "
                "names of its .index and .data files"
            ) from error
        shapes = self._reader.get_variable_to_shape_map()
        self.shapes = {
            name.removesuffix(SUFFIX): tuple(shape)
            for name, shape in sorted(shapes.items())
            if name.startswith(f"{root}/") and name.endswith(SUFFIX) and _SLOT not in name
        }
        self._has_step = f"{STEP_KEY}{SUFFIX}" in shapes
        if not self.shapes:
            raise UserError(
                f"--checkpoint={path} has no variable named {root}/...{SUFFIX}; it is no "
                "object-based checkpoint of a published model"
            )

    def value(self, key: str) -> np.ndarray:
        """The values of one variable. Raises UserError for a damaged file."""
        try:
            return self._reader.get_tensor(f"{key}{SUFFIX}")
        except (tf.errors.OpError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self.path} has a damaged {key} ({reason}); copy it again") from error

    @property
    def step(self) -> int:
        """The optimizer's step, or the number at the end of the file's name, or 0."""
        if self._has_step:
            return int(self._reader.get_tensor(f"{STEP_KEY}{SUFFIX}"))
        number = re.search(r"-(\d+)$", self.path)
        return int(number[1]) if number else 0


class ObjectCheckpointContainer(Container):
    """Files of one checkpoint, written to a folder with one variable for each key such as
    `model/head/kernel`, and the step as `optimizer/iter` and in the name `ckpt-<step>`."""

    writes_remote = True

    def recognises(self, path):
        """Whether `path` is the common part of the names of such files (or the first of them).

        Raises:
            UserError: it is remote, and cannot be reached.
        """
        try:
            return tf.io.gfile.exists(f"{path.removesuffix('.index')}.index")
        except tf.errors.OpError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} cannot be reached ({reason}); copy it here") from error

    def open_source(self, path):
        return ObjectCheckpointSource(path)

    def _write(self, values, path, extras):
        tree = _tree({**dict(values), STEP_KEY: np.int64(extras.step)})
        manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(**tree), path, max_to_keep=None, checkpoint_name=_NAME
        )
        manager.save(checkpoint_number=extras.step)
        return f"{_NAME}-{extras.step}"


class _Node(tf.Module):
    """A place in the tree of objects whose names make the keys."""


def _tree(values: Mapping[str, np.ndarray]) -> dict[str, _Node]:
    """The first names, each with objects below it such that every key names one variable."""
    nodes: dict[str, _Node] = {}

    def node(path: str) -> _Node:
        if path not in nodes:
            nodes[path] = _Node()
            parent, _, name = path.rpartition("/")
            if parent:
                setattr(node(parent), name, nodes[path])
        return nodes[path]

    for key, value in values.items():
        parent, _, name = key.rpartition("/")
        setattr(node(parent), name, tf.Variable(value, trainable=False))
    return {path: found for path, found in nodes.items() if "/" not in path}
