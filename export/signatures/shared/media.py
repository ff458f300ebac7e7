"""What signatures over clips and sounds share: inputs by kind, examples, reference, media files."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export import media_files
from export.client.string_arrays import object_array, text_array
from export.signatures import fields
from export.signatures.base import Arrays, Signatures
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared import preprocessing, samples
from export.version import layout
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.errors import UserError

# What inputs of media are called, and what the names of signatures that take them end in.
INPUT_NAMES = {
    fields.ENCODED_PICTURE: ("image_jpeg", ""),
    fields.PICTURE_PIXELS: ("image", "_pixels"),
    fields.ENCODED_FRAMES: ("frames_jpeg", ""),
    fields.FRAME_PIXELS: ("frames", "_pixels"),
    fields.WAVEFORM: ("waveform", ""),
    fields.WAV_FILE: ("wav_bytes", "_wav"),
}
# By ModelInfo.clip_part.
_PARTS_USED = {
    "central": "the central {} are used, fewer go round",
    "first": "the first {} are used",
    "all": "all of them count",
}
# Pixels of examples for a model that takes frames as they come.
_SIDE = 64
NOUNS = {"image": "stills", "video": "clips", "audio": "sounds"}
Answer = Callable[..., dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class ServedFunction:
    """One signature: what it is, and the function of its inputs in their order."""

    doc: SignatureDoc
    function: Answer


class ServedModule(tf.Module):
    """What the graph uses: the weights as plain variables, the tokenizer with its assets."""

    def __init__(self, name: str, model: Any, tokenizer: tf.Module | None = None):
        super().__init__(name=name)
        self.weights = [variable.value for variable in model.variables]
        self.tokenizer: Any = tokenizer


class MediaSignatures(Signatures):
    """Signatures whose inputs are frames, waveforms and strings.

    A subclass gives the functions by name; all of them work row by row along axis 0.

    Args:
        module: holds what the functions use.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        media: those that the signatures take, of `image`, `video`, `audio` and `text`.
        info: facts of the run.
        still_crop: how stills are fitted (trainers/data/parts/video/config.py), where
            the info gives a size for them.
    """

    def __init__(
        self,
        module: ServedModule,
        input_config: Any,
        media: tuple[str, ...],
        info: ModelInfo,
        still_crop: str = "center",
    ):
        self._module = module
        self._input, self._media, self._info = input_config, media, info
        self._still_crop = still_crop
        self._prepare = self._preparations()
        self._traced: dict[str, Callable] = {}

    @property
    def module(self) -> tf.Module:
        return self._module

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the first one."""
        return next(iter(self._served()))

    @abc.abstractmethod
    def _served(self) -> dict[str, ServedFunction]:
        """The signatures by name."""

    def docs(self) -> dict[str, SignatureDoc]:
        return {name: served.doc for name, served in self._served().items()}

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
                self._sized_function(served.function),
                input_signature=[self._spec(*item) for item in served.doc.inputs.items()],
                autograph=False,
            )
            for name, served in self._served().items()
        }
        functions[layout.DEFAULT_SIGNATURE] = functions[self.default_name]
        return functions

    def _spec(self, name: str, field: Field) -> tf.TensorSpec:
        """The input with the number of rows that the options say."""
        rows = self._info.batch_size or None
        return tf.TensorSpec([rows, *field.lengths[1:]], field.dtype, name)

    def _sized_function(self, function: Answer) -> Answer:
        """The function with outputs that are known to have as many rows as the options say."""
        rows = self._info.batch_size
        if not rows:
            return function

        def sized(*sent: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = function(*sent)
            return {key: tf.ensure_shape(v, [rows, *v.shape[1:]]) for key, v in outputs.items()}

        return sized

    def examples(self) -> dict[str, list[Arrays]]:
        sizes = (self._info.batch_size,) if self._info.batch_size else (1, 2)
        return {
            name: [self._example(doc, num_rows) for num_rows in sizes]
            for name, doc in self.docs().items()
        }

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        served = self._served()[self.default_name if name == layout.DEFAULT_SIGNATURE else name]
        values = [inputs[key] for key in served.doc.inputs]
        rows = [
            served.function(*(tf.constant(value[row : row + 1]) for value in values))
            for row in range(len(values[0]))
        ]
        return {key: _joined([row[key].numpy() for row in rows]) for key in rows[0]}

    def _of_media(
        self,
        kind: str,
        summary: str,
        answer: Answer,
        outputs: Mapping[str, Field],
        words: Mapping[str, Field] | None = None,
    ) -> ServedFunction:
        """A signature that takes media.

        Args:
            kind: form in which they are sent.
            summary: one line.
            answer: function of what the model takes of them, and of the words.
            outputs: of the function.
            words: inputs behind the media.
        """
        prepare = self._prepare[kind]
        inputs = {INPUT_NAMES[kind][0]: media_field(kind, self._info), **(words or {})}
        return ServedFunction(
            SignatureDoc(summary, inputs, outputs),
            lambda sent, *strings: answer(prepare(sent), *strings),
        )

    def _in_each_form(
        self, name: str, medium: str, summary: str, answer: Answer, outputs: Mapping[str, Field]
    ) -> dict[str, ServedFunction]:
        """A signature for each form in which a medium may be sent."""
        return {
            f"{name}{INPUT_NAMES[kind][1]}": self._of_media(kind, summary, answer, outputs)
            for kind in fields.MEDIA[medium]
        }

    def _once(self, name: str, function: Callable) -> Callable:
        """`function`, which the name stands for, traced once for all signatures.

        Signatures that share an encoder so share one function of the graph, which saves most of
        the time that writing and loading takes. Outside graphs it is the function itself.
        """
        if not tf.inside_function():
            return function
        if name not in self._traced:
            self._traced[name] = tf.function(function, autograph=False)
        return self._traced[name]

    def example_files(self) -> dict[str, bytes]:
        files = {}
        if "video" in self._media and self._info.num_frames:
            for index, encoded in enumerate(media_files.jpeg_frames(self._frames(row=0))):
                files[f"frame-{index:02d}.jpg"] = encoded
        if self._info.image_height:
            files["image.jpg"] = media_files.jpeg_frames(self._image(row=0)[None])[0]
        if self._info.num_samples:
            files["sound.wav"] = self._wav_file(row=0)
        return files

    def _preparations(self) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
        """What makes float32[batch, frames, height, width, 3] or float32[batch, samples], as the
        model takes them, of what is sent, by kind; a still is a clip of one frame."""
        info, row, ops = self._info, (slice(None), tf.newaxis), preprocessing
        crop = self._input.video.crop if self._input.video is not None else ""
        clip = (info.num_frames, info.height, info.width, crop)
        still = (1, info.image_height, info.image_width, self._still_crop)
        sound = (info.num_samples, info.sample_rate_hz)
        return {
            fields.ENCODED_PICTURE: lambda sent: ops.video_from_jpeg(sent[row], *still),
            fields.PICTURE_PIXELS: lambda sent: ops.video_from_frames(sent[row], *still),
            fields.ENCODED_FRAMES: lambda sent: ops.video_from_jpeg(sent, *clip),
            fields.FRAME_PIXELS: lambda sent: ops.video_from_frames(sent, *clip),
            fields.WAVEFORM: lambda sent: ops.audio_from_waveform(sent, info.num_samples),
            fields.WAV_FILE: lambda sent: ops.audio_from_wav(sent, *sound),
        }

    def _example(self, doc: SignatureDoc, num_rows: int) -> Arrays:
        return {
            name: _stack([self._example_value(field, row) for row in range(num_rows)])
            for name, field in doc.inputs.items()
        }

    def _example_value(self, field: Field, row: int) -> Any:
        makers = {
            fields.ENCODED_PICTURE: lambda: media_files.jpeg_frames(self._image(row)[None])[0],
            fields.PICTURE_PIXELS: lambda: self._image(row),
            fields.ENCODED_FRAMES: lambda: object_array(media_files.jpeg_frames(self._frames(row))),
            fields.FRAME_PIXELS: lambda: self._frames(row),
            fields.WAVEFORM: lambda: self._waveform(row),
            fields.WAV_FILE: lambda: self._wav_file(row),
            fields.SENTENCE: lambda: samples.TEXTS[row % 3].encode(),
            fields.SENTENCES: lambda: text_array(samples.TEXTS),
            fields.CLASS_NAMES: lambda: text_array(samples.LABELS),
            fields.PROMPT: lambda: samples.PROMPTS[row % 2].encode(),
            fields.PHRASE: lambda: samples.PHRASES[row % 2].encode(),
            fields.SEED: lambda: np.int32(row),
            fields.FEATURE_MAPS: lambda: samples.feature_maps(field.lengths[1:], row),
            fields.STEP_COUNT: lambda: np.int32(row + 1),
            fields.FEATURE_MAP: lambda: samples.feature_map(field.lengths[1:], row),
        }
        return makers[field.kind]()

    def _frames(self, row: int) -> np.ndarray:
        # Neither the model's size nor its aspect, so that the resizing inside the graph is
        # exercised.
        height, width = (self._info.height or _SIDE) + 8, (self._info.width or _SIDE) + 20
        return samples.moving_square(self._info.num_frames + 1, height, width, row)

    def _image(self, row: int) -> np.ndarray:
        height, width = self._info.image_height + 8, self._info.image_width + 20
        return samples.moving_square(row + 1, height, width, row)[-1]

    def _waveform(self, row: int) -> np.ndarray:
        rate = self._info.sample_rate_hz
        return samples.chirp(int(0.75 * self._info.num_samples), rate, row)

    def _wav_file(self, row: int) -> bytes:
        return media_files.wav_file(self._waveform(row), self._info.sample_rate_hz)


def media_field(kind: str, info: ModelInfo) -> Field:
    """An input of media, as the model sees it."""
    rate = f"at {info.frame_rate_hz:g} frames per second"
    clips = f"of any size; {_PARTS_USED[info.clip_part].format(info.num_frames)}"
    stills = f"seen at {info.image_height} x {info.image_width} pixels; of any size"
    sounds = f"the central {info.num_samples} samples are used, fewer go round"
    meanings = {
        fields.ENCODED_PICTURE: f"JPEG files, {stills}",
        fields.PICTURE_PIXELS: f"RGB, {stills}",
        fields.ENCODED_FRAMES: f"JPEG files {rate}, {clips}",
        fields.FRAME_PIXELS: f"RGB {rate}, {clips}",
        fields.WAVEFORM: f"mono in [-1, 1] at {info.sample_rate_hz} Hz; {sounds}",
        fields.WAV_FILE: f"16-bit PCM WAV files at {info.sample_rate_hz} Hz; channels are averaged",
    }
    return fields.input_field(kind, meanings[kind])


def check_streams(streams: Mapping[str, Any]) -> None:
    """Raises UserError for a run without streams, such as a converted one of a model alone."""
    if not streams:
        raise UserError(
            "the run's config has no streams, so nothing says what its inputs are; export a run "
            "that was trained, or convert with the config of an experiment"
        )


def widest_input(streams: Mapping[str, Any]) -> Any:
    """The stream's input with the most modalities; the first one of several.

    Raises:
        UserError: there is no stream.
    """
    check_streams(streams)
    inputs = [stream.input for stream in streams.values()]
    return max(inputs, key=lambda one: sum(bool(p) for p in (one.video, one.audio, one.text)))


def _joined(rows: list[np.ndarray]) -> np.ndarray:
    """Answers of one row each as one, which has room for the longest; zeros behind the others."""
    room = np.max([row.shape for row in rows], axis=0)[1:]
    if all(row.shape[1:] == tuple(room) for row in rows):
        return np.concatenate(rows)
    return np.concatenate(
        [np.pad(row, [(0, 0), *((0, gap) for gap in room - row.shape[1:])]) for row in rows]
    )


def _stack(rows: list) -> np.ndarray:
    if isinstance(rows[0], bytes):
        return object_array(rows)
    return np.stack(rows)
