"""What signatures over clips and sounds share: specs by name, examples, reference, media files."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export import layout
from export.arrays import object_array
from export.model_info import ModelInfo
from export.signatures import preprocessing, samples
from export.signatures.base import Arrays, Signatures
from mm_models.errors import UserError

MODALITIES = ("video", "audio", "text")
FREE = None
JPEG = tf.TensorSpec([FREE, FREE], tf.string, "frames_jpeg")
FRAMES = tf.TensorSpec([FREE, FREE, FREE, FREE, 3], tf.uint8, "frames")
WAVEFORM = tf.TensorSpec([FREE, FREE], tf.float32, "waveform")
WAV = tf.TensorSpec([FREE], tf.string, "wav_bytes")


class MediaSignatures(Signatures):
    """Signatures whose inputs are frames, waveforms and strings.

    A subclass gives specs and functions by name; all of them work row by row along axis 0.

    Args:
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        modalities: those that the signatures take.
        info: facts of the run.
    """

    def __init__(self, input_config: Any, modalities: tuple[str, ...], info: ModelInfo):
        self._input, self._modalities, self._info = input_config, modalities, info

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def input_config(self) -> Any:
        """What a batch of the run holds."""
        return self._input

    @abc.abstractmethod
    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        """Input signatures by name; the order of the specs is that of the function's arguments."""

    @abc.abstractmethod
    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        """A function of positional tensors in the order of the signature's specs."""

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        functions = {
            name: tf.function(self._batch_function(name), input_signature=specs, autograph=False)
            for name, specs in self._specs().items()
        }
        functions[layout.DEFAULT_SIGNATURE] = functions[self.default_name]
        return functions

    def examples(self) -> dict[str, list[Arrays]]:
        return {
            name: [self._example(name, num_rows) for num_rows in (1, 2)] for name in self._specs()
        }

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        if name == layout.DEFAULT_SIGNATURE:
            name = self.default_name
        function = self._batch_function(name)
        num_rows = len(next(iter(inputs.values())))
        rows = [
            function(*(tf.constant(value[row : row + 1]) for value in inputs.values()))
            for row in range(num_rows)
        ]
        return {key: np.concatenate([row[key].numpy() for row in rows]) for key in rows[0]}

    def example_files(self) -> dict[str, bytes]:
        files = {}
        if "video" in self._modalities:
            for index, encoded in enumerate(samples.jpeg_frames(self._frames(row=0))):
                files[f"frame-{index:02d}.jpg"] = encoded
        if "audio" in self._modalities:
            files["sound.wav"] = samples.wav_file(self._waveform(row=0), self._info.sample_rate_hz)
        return files

    def _clip_from_jpeg(self, frames_jpeg: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, height, width, 3] of `string[batch, frames]`."""
        return preprocessing.video_from_jpeg(frames_jpeg, *self._video_size)

    def _clip_from_frames(self, frames: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, height, width, 3] of `uint8[batch, frames, any, any, 3]`."""
        return preprocessing.video_from_frames(frames, *self._video_size)

    def _sound_from_waveform(self, waveform: tf.Tensor) -> tf.Tensor:
        """float32[batch, samples] of the model's length."""
        return preprocessing.audio_from_waveform(waveform, self._info.num_samples)

    def _sound_from_wav(self, wav_bytes: tf.Tensor) -> tf.Tensor:
        """float32[batch, samples] of `string[batch]` WAV files."""
        return preprocessing.audio_from_wav(
            wav_bytes, self._info.num_samples, self._info.sample_rate_hz
        )

    @property
    def _video_size(self) -> tuple[int, int, int, str]:
        crop = self._input.video.crop if self._input.video is not None else ""
        return (self._info.num_frames, self._info.height, self._info.width, crop)

    def _example(self, name: str, num_rows: int) -> Arrays:
        makers = {
            "frames_jpeg": lambda row: object_array(samples.jpeg_frames(self._frames(row))),
            "frames": self._frames,
            "waveform": self._waveform,
            "wav_bytes": lambda row: samples.wav_file(
                self._waveform(row), self._info.sample_rate_hz
            ),
            "text": lambda row: samples.TEXTS[row % 3].encode(),
            "texts": lambda row: object_array([text.encode() for text in samples.TEXTS]),
        }
        return {
            spec.name: _stack([makers[spec.name](row) for row in range(num_rows)])
            for spec in self._specs()[name]
        }

    def _frames(self, row: int) -> np.ndarray:
        # Neither the model's size nor its aspect, so that the resizing inside the graph is
        # exercised.
        height, width = self._info.height + 8, self._info.width + 20
        return samples.moving_square(self._info.num_frames + 1, height, width, row)

    def _waveform(self, row: int) -> np.ndarray:
        rate = self._info.sample_rate_hz
        return samples.chirp(int(0.75 * self._info.num_samples), rate, row)


def input_docs(info: ModelInfo) -> dict[str, str]:
    """What each input of media holds, by its name."""
    rate = f"{info.frame_rate_hz:g} frames per second"
    fitted = f"of any size; the central {info.num_frames} are used, fewer go round"
    return {
        "frames_jpeg": f"string[batch, frames]: JPEG files at {rate}, {fitted}",
        "frames": f"uint8[batch, frames, height, width, 3]: RGB at {rate}, {fitted}",
        "waveform": f"float32[batch, samples]: mono in [-1, 1] at {info.sample_rate_hz} Hz; "
        f"the central {info.num_samples} samples are used, fewer go round",
        "wav_bytes": f"string[batch]: 16-bit PCM WAV files at {info.sample_rate_hz} Hz; channels "
        "are averaged",
    }


def widest_input(streams: Mapping[str, Any]) -> Any:
    """The stream's input with the most modalities; the first one of several.

    Raises:
        UserError: there is no stream.
    """
    if not streams:
        raise UserError("the run's config has no streams, so nothing says what its inputs are")
    inputs = [stream.input for stream in streams.values()]
    return max(inputs, key=lambda config: sum(_has(config, name) for name in MODALITIES))


def _has(input_config: Any, modality: str) -> bool:
    return getattr(input_config, modality, None) is not None


def _stack(rows: list) -> np.ndarray:
    if isinstance(rows[0], bytes):
        return object_array(rows)
    return np.stack(rows)
