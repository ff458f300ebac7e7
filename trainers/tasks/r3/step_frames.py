"""The pictures behind the steps of features, where records keep them."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.signal.windows import kept_steps
from trainers.data.config import InputConfig
from trainers.data.opening import open_indexes
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE
from trainers.evaluation.pictures import drawing
from trainers.evaluation.writing import text_pages

_HEIGHT_PIXELS = 96


def step_frames(example_ids: np.ndarray, input_config: InputConfig) -> list[tuple[bytes, ...]]:
    """Of each example a small JPEG of a frame of each step that its features are read of; none
    where its record has no frames, or does not say when steps are.

    Args:
        example_ids: int64[examples] as in the batch's `example_id`.
        input_config: what the batch was read with.
    """
    datasets, indexes = list(input_config.datasets.values()), open_indexes(input_config)
    found = []
    for example_id in example_ids.tolist():
        dataset, number = divmod(example_id, EXAMPLE_ID_STRIDE)
        record = tf.train.SequenceExample.FromString(indexes[dataset].read_one(number))
        found.append(_frames(record, datasets[dataset].feature_names, input_config))
    return found


def _frames(record, names: Mapping[str, str], input_config: InputConfig) -> tuple[bytes, ...]:
    def values(key: str, kind: str) -> list:
        stored = record.feature_lists.feature_list[names.get(key, key)].feature
        return [value for each in stored for value in getattr(each, kind).value]

    starts, times = (
        np.array(values(key, "int64_list"), np.int64)
        for key in (contract.FEATURE_TIMESTAMPS, contract.FRAME_TIMESTAMPS)
    )
    frames = values(contract.FRAMES, "bytes_list")
    if not len(starts) or not frames or len(times) != len(frames):
        return ()
    features = input_config.features
    kept = kept_steps(tf.constant(len(starts)), features.num_steps, features.sampling).numpy()
    places = frames_of_steps(starts, times)[kept[kept < len(starts)]]
    return tuple(_small(frames[place]) for place in places)


def frames_of_steps(starts_us: np.ndarray, times_us: np.ndarray) -> np.ndarray:
    """int64[steps]: the frame that is shown in the middle of each step, which lasts until the next.

    Args:
        starts_us: int64[steps] of the steps, ascending.
        times_us: int64[frames] of the frames, ascending.
    """
    ends = np.append(starts_us[1:], max(times_us[-1], starts_us[-1]))
    middles = (starts_us + ends) // 2
    return np.maximum(np.searchsorted(times_us, middles, side="right") - 1, 0)


def _small(content: bytes) -> bytes:
    frame = tf.io.decode_jpeg(content, channels=3).numpy()
    return text_pages.encoded(drawing.clip_strip(frame[None], height_pixels=_HEIGHT_PIXELS))
