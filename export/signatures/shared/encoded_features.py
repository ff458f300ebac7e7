"""Media → the features that a model learned from, by the frozen encoder inside its export."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import tensorflow as tf

from export.version.run_facts import DATASET_INFO
from mm_models.errors import UserError
from mm_models.signal import frames as frame_ops
from mm_models.signal.windows import kept_steps

# Pixels of the frames that an encoder of any size is tried with.
_SIDE = 224


@dataclasses.dataclass(frozen=True)
class FeatureSource:
    """How the features of a record folder were made.

    Attributes:
        rate_hz: steps per second.
        frame_rate_hz: of the frames that the encoder saw.
        short_side: pixels of these frames; 0 where they were as they came.
        region: part of the picture that they showed, see ModelInfo.
        encoder: name and digest.
        window_seconds: what the encoder saw around the middle of a step; 0 for just the step.
    """

    rate_hz: float
    frame_rate_hz: float
    short_side: int = 0
    region: tuple[float, ...] | None = None
    encoder: str = ""
    window_seconds: float = 0.0


def feature_source(input_config: Any, frame_rate_hz: float | None) -> FeatureSource:
    """What the records of a stream say of their features.

    Args:
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        frame_rate_hz: rate of the frames, where the records do not tell it.

    Raises:
        UserError: they do not tell, or differ.
    """
    found = {_source(dataset.path, frame_rate_hz) for dataset in input_config.datasets.values()}
    if len(found) == 1:
        return found.pop()
    raise UserError(
        f"--encoder: the data sets hold features that were made differently ({found}), and a model "
        "is exported for one way; make them alike with `mmstack features`"
    )


def _source(path: str, frame_rate_hz: float | None) -> FeatureSource:
    try:
        with tf.io.gfile.GFile(f"{path}/{DATASET_INFO}") as stream:
            info = json.load(stream)
        stored, made = info["clip_features"], info.get("config", {})
        rate_hz, encoder = float(stored["rate_hz"]), str(stored["encoder"])
    except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--encoder: {path}/{DATASET_INFO} does not say how its features were made "
            f"({error!r}); it is needed beside the encoder"
        ) from None
    frame_rate_hz = frame_rate_hz or made.get("frame_rate_hz")
    if not frame_rate_hz:
        raise UserError(
            f"--encoder: {path} does not tell the rate of the frames that its features were made "
            "of; give --frame_rate_hz"
        )
    region = made.get("region")
    return FeatureSource(
        rate_hz,
        float(frame_rate_hz),
        int(made.get("short_side") or 0),
        tuple(region) if region else None,
        encoder,
        float(stored.get("window_seconds", 0.0)),
    )


class EncodedFeatures:
    """The features of clips, as `mmstack features` stores them and training reads them.

    Args:
        path: of the encoder.
        source: how the features that the model learned from were made.
        config: which of them the model reads (trainers/data/parts/features/config.py).

    Attributes:
        identity: name and digest of the encoder.
        module: tracks what it needs.
        most_frames: more are not looked at; of a model that looks at all of a clip, as many as fill
            its steps.
        height, width: pixels of the frames that it takes, or else of the short side of those that
            the features were made of; 0 where these were as they came.

    Raises:
        UserError: it cannot be loaded, is another one than that of the features, or gives features
            of another shape.
    """

    def __init__(self, path: str, source: FeatureSource, config: Any):
        from beam_pipelines.pipelines.runner import import_beam

        import_beam()
        from beam_pipelines.pipelines.features.encoder import EncoderFolder, FrozenEncoder

        folder = EncoderFolder.find(path)
        self.identity = folder.identity
        _check_same(path, self.identity, source.encoder)
        self._source, self._config = source, config
        self._encoder = FrozenEncoder(folder.path)
        self.module = self._encoder.module
        seconds = config.num_steps / source.rate_hz
        half_behind = (source.window_seconds - 1 / source.rate_hz) / 2
        self.most_frames = math.ceil((seconds + max(half_behind, 0)) * source.frame_rate_hz)
        self.height = self._encoder.height or source.short_side
        self.width = self._encoder.width or source.short_side
        self._grid = (max(config.rows, 1), max(config.columns, 1))
        self._try(path)

    def _try(self, path: str) -> None:
        """Raises UserError for maps of another shape than the model learned from."""
        size = self.height or _SIDE, self.width or _SIDE
        clip = np.zeros([1, self._encoder.num_frames or 1, *size, 3], np.uint8)
        _, height, width, dim = self._encoder.maps(clip).shape
        (rows, columns), wanted = self._grid, self._config.dim
        if dim != wanted or height < rows or width < columns:
            raise UserError(
                f"--encoder {path} gives {height}x{width} regions of {dim} numbers, and the model "
                f"learned from {rows}x{columns} of {wanted}; give the encoder of its features"
            )

    def of_pixels(self, frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Features of clips.

        Args:
            frames: uint8[batch, frames, height, width, 3] at the rate of the source.

        Returns:
            float32[batch, steps, rows, columns, dim], zeros behind the last step, and int32[batch],
            how many steps there are.
        """
        return self._of_rows(frames, self._features)

    def of_jpeg(self, frames_jpeg: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same of string[batch, frames], files of pictures; those of a row that differ in size
        from its first one are resized to it."""

        def features(encoded: tf.Tensor) -> tf.Tensor:
            first = frame_ops.decode_picture(encoded[0])
            size = tf.shape(first)[:2]

            def decoded(one: tf.Tensor) -> tf.Tensor:
                picture = frame_ops.decode_picture(one)
                same = tf.reduce_all(tf.shape(picture)[:2] == size)
                return tf.cond(
                    same, lambda: picture, lambda: _resized(picture[tf.newaxis], size)[0]
                )

            spec = tf.TensorSpec([None, None, 3], tf.uint8)
            return self._features(tf.map_fn(decoded, encoded, fn_output_signature=spec))

        return self._of_rows(frames_jpeg, features)

    def _of_rows(self, frames: tf.Tensor, features: Any) -> tuple[tf.Tensor, tf.Tensor]:
        if self._config.sampling == "truncate":
            frames = frames[:, : self.most_frames]
        spec = tf.TensorSpec(self._shape, tf.float32)
        found = tf.map_fn(features, frames, fn_output_signature=spec)
        count = tf.minimum(self._steps(tf.shape(frames)[1])[-1] + 1, self._config.num_steps)
        return found, tf.fill([tf.shape(frames)[0]], count)

    @property
    def _shape(self) -> list[int]:
        return [self._config.num_steps, *self._grid, self._config.dim]

    def _steps(self, num_frames: tf.Tensor) -> tf.Tensor:
        """int32[frames]: the step of each frame, as `steps_of` has it
        (beam_pipelines/pipelines/features/step_frames.py)."""
        times_us = self._times_us(num_frames)
        return tf.cast(tf.floor((times_us + 1) * (self._source.rate_hz / 1e6)), tf.int32)

    def _times_us(self, num_frames: tf.Tensor) -> tf.Tensor:
        """float64[frames]."""
        places = tf.cast(tf.range(num_frames), tf.float64)
        return tf.round(places * (1e6 / self._source.frame_rate_hz))

    def _features(self, frames: tf.Tensor) -> tf.Tensor:
        """float32[steps, rows, columns, dim] of uint8[frames, height, width, 3]."""
        frames = self._fitted(frames)
        numbers = self._steps(tf.shape(frames)[0])
        count = numbers[-1] + 1
        kept = kept_steps(count, self._config.num_steps, self._config.sampling)
        steps = tf.minimum(kept, count - 1)
        if self._source.window_seconds:
            starts, ends = self._around(steps, self._times_us(tf.shape(frames)[0]))
        else:
            starts, ends = (tf.searchsorted(numbers, steps, side) for side in ("left", "right"))
        # A step between frames has the one before it.
        starts = tf.where(ends > starts, starts, tf.maximum(starts - 1, 0))
        ends = tf.maximum(ends, starts + 1)
        found = tf.map_fn(
            lambda span: self._step(frames, *span),
            (starts, ends),
            fn_output_signature=tf.TensorSpec(self._shape[1:], tf.float32),
        )
        return found * tf.cast(kept < count, tf.float32)[:, tf.newaxis, tf.newaxis, tf.newaxis]

    def _around(self, steps: tf.Tensor, times_us: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """int32[steps] twice: the first frame of the window around each step, and the one behind
        the last, as `steps_of` has them."""
        length = self._source.window_seconds * 1e6
        middles = (tf.cast(steps, tf.float64) + 0.5) * (1e6 / self._source.rate_hz)
        begins = tf.maximum(tf.minimum(middles - length / 2, times_us[-1] + 2 - length), 0.0)
        starts = tf.searchsorted(times_us + 1, begins, "left")
        return starts, tf.searchsorted(times_us + 1, begins + length, "left")

    def _step(self, frames: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
        """float32[rows, columns, dim] of the frames from `start` to before `end`."""
        wanted = self._encoder.num_frames
        if wanted is not None:
            # The middle one of each of equal parts.
            places = start + (2 * tf.range(wanted) + 1) * (end - start) // (2 * wanted)
            clip = tf.gather(frames, places)
        else:
            clip = frames[start:end]
        batch = tf.repeat(clip[tf.newaxis], self._encoder.batch_size or 1, axis=0)
        maps = self._encoder.maps_of(batch)[0]
        height, width, _ = tf.unstack(tf.shape(maps))
        down, across = _averages(height, self._grid[0]), _averages(width, self._grid[1])
        return tf.einsum("rh,hwd,cw->rcd", down, maps, across)

    def step_pictures(self, frames_jpeg: list[bytes]) -> list[bytes]:
        """The frame in the middle of each step that is read."""
        numbers = self._steps(tf.constant(len(frames_jpeg))).numpy()
        count = int(numbers[-1]) + 1
        kept = kept_steps(tf.constant(count), self._config.num_steps, self._config.sampling).numpy()
        middles = (np.searchsorted(numbers, kept[kept < count] + 0.5, "left") - 1).clip(0)
        starts = np.searchsorted(numbers, numbers[middles], "left")
        return [frames_jpeg[place] for place in (starts + middles) // 2]

    def _fitted(self, frames: tf.Tensor) -> tf.Tensor:
        """The largest central part of the aspect that the encoder takes, at its size."""
        height, width = self._encoder.height, self._encoder.width
        if height is None or width is None:
            return frames
        size = tf.shape(frames)[1:3]
        scale = tf.reduce_min(tf.cast(size, tf.float64) / tf.constant([height, width], tf.float64))
        part = tf.maximum(
            tf.cast(tf.round(tf.constant([height, width], tf.float64) * scale), tf.int32), 1
        )
        top, left = tf.unstack((size - part) // 2)
        cut = frames[:, top : top + part[0], left : left + part[1]]
        fitted = tf.cond(
            tf.reduce_all(part == [height, width]),
            lambda: cut,
            lambda: _resized(cut, tf.constant([height, width])),
        )
        return tf.ensure_shape(fitted, [None, height, width, 3])


def _averages(size: tf.Tensor, count: int) -> tf.Tensor:
    """float32[count, size]: what `size` cells in a row are multiplied with for the mean of each
    window, which are those of `windows` (beam_pipelines/pipelines/features/pooling.py)."""
    places, width = tf.range(count), size // count
    side_by_side = 7 * (size - width * count) <= size
    starts = tf.where(side_by_side, places * width, places * size // count)
    ends = tf.where(side_by_side, (places + 1) * width, -(-(places + 1) * size // count))
    cells = tf.range(size)
    inside = (cells >= starts[:, tf.newaxis]) & (cells < ends[:, tf.newaxis])
    return tf.cast(inside, tf.float32) / tf.cast(ends - starts, tf.float32)[:, tf.newaxis]


def _resized(frames: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """uint8[frames, *size, 3]."""
    resized = tf.image.resize(frames, size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def _check_same(path: str, given: str, stored: str) -> None:
    """Raises UserError where the features were made by an encoder of other weights."""
    _, told, digest = stored.rpartition("@")
    if told and digest != given.rpartition("@")[2]:
        raise UserError(
            f"--encoder {path} is {given}, and the model learned from features of {stored}; give "
            "that encoder"
        )
