"""A frozen encoder: a SavedModel with the signature `feature_maps`.

The only module of the pipelines that runs a model; TensorFlow is imported where one is loaded.
"""

import dataclasses
import hashlib
import importlib
import json
from typing import Any

import numpy as np

from beam_pipelines import files
from beam_pipelines.pipelines.features.step_frames import Steps, decode_steps
from beam_pipelines.rejects import Reject
from mm_models.errors import UserError

SIGNATURE, INPUT, OUTPUT = "feature_maps", "video", "maps"
_GRAPH = "saved_model.pb"
_MODEL_INFO = "assets.extra/model_info.json"
_DTYPES = ("uint8", "float32", "bfloat16", "float16")
# Of libraries that a graph may need, those that stand in `mmstack export`'s model information.
_LIBRARIES = ("tensorflow_text",)


@dataclasses.dataclass(frozen=True)
class EncoderFolder:
    """Where an encoder lies.

    Attributes:
        path: folder with `saved_model.pb`.
        name: of the encoder, with its version.
        digest: of its files.
    """

    path: str
    name: str
    digest: str

    @property
    def identity(self) -> str:
        """What records name as the encoder."""
        return f"{self.name}@{self.digest[:16]}"

    @classmethod
    def find(cls, path: str) -> "EncoderFolder":
        """The model of a folder, or the latest of its numbered versions.

        Raises:
            UserError: there is none.
        """
        path = path.rstrip("/")
        try:
            found = [name for name, _ in files.list_files(path)] if files.is_folder(path) else []
        except OSError as error:
            raise UserError(f"--encoder {path} cannot be read: {error}; check the path") from error
        relative = [name[len(path) + 1 :] for name in found]
        versions = [int(name.split("/")[0]) for name in relative if _is_versioned(name)]
        if _GRAPH in relative:
            return cls(path, path.rpartition("/")[2], _digest(path, relative))
        if not versions:
            raise UserError(
                f"--encoder {path} holds no {_GRAPH}, neither itself nor in a numbered version; "
                "name a folder that `mmstack export` wrote, or another SavedModel"
            )
        version = max(versions)
        chosen = files.join(path, str(version))
        inside = [name.partition("/")[2] for name in relative if name.startswith(f"{version}/")]
        return cls(chosen, f"{path.rpartition('/')[2]}/{version}", _digest(chosen, inside))


def _is_versioned(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder.isascii() and folder.isdecimal() and file == _GRAPH


def _digest(folder: str, names: list[str]) -> str:
    """Hex digest of the graph and its variables."""
    digest = hashlib.sha256()
    for name in sorted(names):
        if name == _GRAPH or name.startswith(("variables/", "assets/")):
            digest.update(f"{name} {files.sha256(files.join(folder, name))}\n".encode())
    return digest.hexdigest()


class FrozenEncoder:
    """A loaded model that gives maps of clips.

    Attributes:
        num_frames, height, width: of the clips that it takes; None where it takes any.
        batch_size: clips of a call; None where it takes any number.

    Raises:
        UserError: it cannot be loaded, or has no such signature.
    """

    def __init__(self, folder: str):
        import tensorflow as tf

        self._folder = folder
        _import_libraries(folder)
        try:
            # Kept, since a signature does not keep the variables of its model.
            self._model: Any = tf.saved_model.load(folder)
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"--encoder {folder} cannot be loaded: {reason}") from error
        self._function = self._signature(self._model.signatures)
        (spec,) = self._function.structured_input_signature[1].values()
        self._dtype = spec.dtype
        self.batch_size, self.num_frames, self.height, self.width, _ = spec.shape.as_list()

    def _signature(self, signatures: Any) -> Any:
        if SIGNATURE not in signatures:
            raise UserError(
                f"--encoder {self._folder} has no signature {SIGNATURE!r}, only "
                f"{', '.join(sorted(signatures)) or 'none at all'}; export a model that gives "
                f"feature maps, or add a function of {INPUT!r} that gives {OUTPUT!r}"
            )
        function = signatures[SIGNATURE]
        taken = function.structured_input_signature[1]
        fits = set(taken) == {INPUT} and taken[INPUT].dtype.name in _DTYPES
        fits = fits and taken[INPUT].shape.rank == 5 and taken[INPUT].shape[4] == 3
        given = function.structured_outputs
        if not fits or OUTPUT not in given or given[OUTPUT].shape.rank not in (None, 4):
            raise UserError(
                f"--encoder {self._folder}: {SIGNATURE} takes {_described(taken)} and gives "
                f"{_described(given)}; it must take {INPUT}: uint8 or float[batch, frames, height, "
                f"width, 3] and give {OUTPUT}: float[batch, rows, columns, dim]"
            )
        return function

    def clips_of(self, frames: list[list[bytes]], steps: Steps) -> list[np.ndarray] | Reject:
        """The clip of each step, as it takes them: uint8[frames, height, width, 3].

        Args:
            frames: pictures of a record, one a step of its list.
            steps: which of them each step has.
        """
        return decode_steps(frames, steps, self.num_frames, self.height, self.width)

    def maps(self, clips: np.ndarray) -> np.ndarray:
        """Runs the model.

        Args:
            clips: uint8[batch, frames, height, width, 3], of the size that it takes. A model of
                floats gets them in [-1, 1].

        Returns:
            float32[batch, rows, columns, dim].
        """
        import tensorflow as tf

        rows = len(clips)
        if self.batch_size and rows < self.batch_size:
            clips = np.concatenate([clips, np.repeat(clips[-1:], self.batch_size - rows, axis=0)])
        try:
            maps = self.maps_of(tf.constant(clips))
        except tf.errors.OpError as error:
            raise UserError(
                f"--encoder {self._folder} fails on clips of shape {clips.shape}: "
                f"{error.message.splitlines()[0]}; give it frames of the size that it takes"
            ) from error
        return maps.numpy()[:rows]

    def maps_of(self, video: Any) -> Any:
        """The same of a tensor, also inside a graph.

        Args:
            video: uint8[batch, frames, height, width, 3], of the batch and the size that it takes.

        Returns:
            float32[batch, rows, columns, dim].
        """
        import tensorflow as tf

        if self._dtype != tf.uint8:
            video = tf.cast(tf.cast(video, tf.float32) * (2 / 255) - 1, self._dtype)
        return tf.cast(self._function(**{INPUT: video})[OUTPUT], tf.float32)

    @property
    def module(self) -> Any:
        """Tracks what the model needs, where a graph that holds it is saved."""
        return self._model


def _described(tensors: dict[str, Any]) -> str:
    described = (f"{name}: {spec.dtype.name}{spec.shape}" for name, spec in tensors.items())
    return ", ".join(described) or "nothing"


def _import_libraries(folder: str) -> None:
    """Imports what the graph of an export needs beyond TensorFlow."""
    path = files.join(folder, _MODEL_INFO)
    if not files.exists(path):
        return
    try:
        needed = json.loads(files.read_bytes(path))["op_libraries"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--encoder {folder}: {_MODEL_INFO} cannot be read ({error}); export again"
        ) from error
    for library in set(needed) & set(_LIBRARIES):
        importlib.import_module(library)
