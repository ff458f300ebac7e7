"""What signatures over clips and sounds share: specs by name, examples, reference, media files."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.client.string_arrays import object_array
from export.signatures.base import Arrays, Signatures
from export.signatures.shared import preprocessing, samples
from export.version import layout
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.errors import UserError

MODALITIES = ("video", "audio", "text")
FREE = None
JPEG = tf.TensorSpec([FREE, FREE], tf.string, "frames_jpeg")
FRAMES = tf.TensorSpec([FREE, FREE, FREE, FREE, 3], tf.uint8, "frames")
WAVEFORM = tf.TensorSpec([FREE, FREE], tf.float32, "waveform")
WAV = tf.TensorSpec([FREE], tf.string, "wav_bytes")
IMAGE_JPEG = tf.TensorSpec([FREE], tf.string, "image_jpeg")
IMAGE = tf.TensorSpec([FREE, FREE, FREE, 3], tf.uint8, "image")
TEXT = tf.TensorSpec([FREE], tf.string, "text")
TEXTS = tf.TensorSpec([FREE, FREE], tf.string, "texts")
LABELS = tf.TensorSpec([FREE, FREE], tf.string, "labels")


class ServedModule(tf.Module):
    """What the graph uses: the weights as plain variables, the tokenizer with its assets."""

    def __init__(self, name: str, model: Any, tokenizer: tf.Module | None = None):
        super().__init__(name=name)
        self.weights = [variable.value for variable in model.variables]
        self.tokenizer = tokenizer


class MediaSignatures(Signatures):
    """Signatures whose inputs are frames, waveforms and strings.

    A subclass gives specs and functions by name; all of them work row by row along axis 0.

    Args:
        module: holds what the functions use.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        modalities: those that the signatures take.
        info: facts of the run.
        still_crop: how stills are fitted (trainers/data/parts/video/config.py), where
            the info gives a size for them.
    """

    def __init__(
        self,
        module: ServedModule,
        input_config: Any,
        modalities: tuple[str, ...],
        info: ModelInfo,
        still_crop: str = "center",
    ):
        self._module = module
        self._input, self._modalities, self._info = input_config, modalities, info
        self._still_crop = still_crop

    @property
    def module(self) -> tf.Module:
        return self._module

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the first one."""
        return next(iter(self._specs()))

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

    def apply(self, options: ExportOptions) -> None:
        if options.decoding or options.jit_compile:
            raise UserError(
                f"a model of {self._info.system} writes no text, so that there is nothing to "
                "decode; leave --decoding and --jit_compile out"
            )
        self._info = dataclasses.replace(self._info, batch_size=options.batch_size)

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        functions = {
            name: tf.function(
                self._sized_function(name),
                input_signature=[self._sized(spec) for spec in specs],
                autograph=False,
            )
            for name, specs in self._specs().items()
        }
        functions[layout.DEFAULT_SIGNATURE] = functions[self.default_name]
        return functions

    def _sized(self, spec: tf.TensorSpec) -> tf.TensorSpec:
        """The spec with the number of rows that the options say."""
        rows = self._info.batch_size or FREE
        return tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype, spec.name)

    def _sized_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        """`_batch_function` whose outputs are known to have as many rows as the options say."""
        function, rows = self._batch_function(name), self._info.batch_size
        if not rows:
            return function

        def sized(*sent: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = function(*sent)
            return {key: tf.ensure_shape(v, [rows, *v.shape[1:]]) for key, v in outputs.items()}

        return sized

    def examples(self) -> dict[str, list[Arrays]]:
        sizes = (self._info.batch_size,) if self._info.batch_size else (1, 2)
        return {
            name: [self._example(name, num_rows) for num_rows in sizes] for name in self._specs()
        }

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        if name == layout.DEFAULT_SIGNATURE:
            name = self.default_name
        function = self._batch_function(name)
        values = [inputs[spec.name] for spec in self._specs()[name]]
        rows = [
            function(*(tf.constant(value[row : row + 1]) for value in values))
            for row in range(len(values[0]))
        ]
        return {key: np.concatenate([row[key].numpy() for row in rows]) for key in rows[0]}

    def example_files(self) -> dict[str, bytes]:
        files = {}
        if "video" in self._modalities and self._info.num_frames:
            for index, encoded in enumerate(samples.jpeg_frames(self._frames(row=0))):
                files[f"frame-{index:02d}.jpg"] = encoded
        if self._info.image_height:
            files["image.jpg"] = samples.jpeg_frames(self._image(row=0)[None])[0]
        if self._info.num_samples:
            files["sound.wav"] = samples.wav_file(self._waveform(row=0), self._info.sample_rate_hz)
        return files

    def _clip_from_jpeg(self, frames_jpeg: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, height, width, 3] of `string[batch, frames]`."""
        return preprocessing.video_from_jpeg(frames_jpeg, *self._video_size)

    def _clip_from_frames(self, frames: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, height, width, 3] of `uint8[batch, frames, any, any, 3]`."""
        return preprocessing.video_from_frames(frames, *self._video_size)

    def _still_from_jpeg(self, image_jpeg: tf.Tensor) -> tf.Tensor:
        """float32[batch, 1, height, width, 3] of `string[batch]`: clips of one frame."""
        return preprocessing.video_from_jpeg(image_jpeg[:, tf.newaxis], *self._still_size)

    def _still_from_pixels(self, image: tf.Tensor) -> tf.Tensor:
        """float32[batch, 1, height, width, 3] of `uint8[batch, any, any, 3]`."""
        return preprocessing.video_from_frames(image[:, tf.newaxis], *self._still_size)

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

    @property
    def _still_size(self) -> tuple[int, int, int, str]:
        return (1, self._info.image_height, self._info.image_width, self._still_crop)

    def _example(self, name: str, num_rows: int) -> Arrays:
        makers = {
            "frames_jpeg": lambda row: object_array(samples.jpeg_frames(self._frames(row))),
            "frames": self._frames,
            "image_jpeg": lambda row: samples.jpeg_frames(self._image(row)[None])[0],
            "image": self._image,
            "waveform": self._waveform,
            "wav_bytes": lambda row: samples.wav_file(
                self._waveform(row), self._info.sample_rate_hz
            ),
            "text": lambda row: samples.TEXTS[row % 3].encode(),
            "texts": lambda row: object_array([text.encode() for text in samples.TEXTS]),
            "prompt": lambda row: samples.PROMPTS[row % 2].encode(),
            "labels": lambda row: object_array([label.encode() for label in samples.LABELS]),
            "seed": np.int32,
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

    def _image(self, row: int) -> np.ndarray:
        height, width = self._info.image_height + 8, self._info.image_width + 20
        return samples.moving_square(row + 1, height, width, row)[-1]

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
        "image_jpeg": f"string[batch]: JPEG files, seen at {info.image_height} x "
        f"{info.image_width} pixels; of any size",
        "image": f"uint8[batch, height, width, 3]: RGB, seen at {info.image_height} x "
        f"{info.image_width} pixels; of any size",
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
