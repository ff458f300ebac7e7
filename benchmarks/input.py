"""The input pipeline against plain tf.data, and resuming late against starting."""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator

import tensorflow as tf

from beam_pipelines.record import contract
from benchmarks.digits_records import SAMPLE_RATE_HZ, write_digits_records
from benchmarks.results import compare, result
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_train_dataset

BATCH_SIZE = 16
NUM_FRAMES, FRAME_STRIDE, NUM_STORED = 8, 2, 32
SIDE, STORED_SIDE = 112, 128
NUM_CLIPS, NUM_SAMPLES = 256, 32_000
ROUNDS = 5
BATCHES_PER_ROUND = 8
LATE_STEP = 1_000_000
SMALLEST = {"ROUNDS": 1, "BATCHES_PER_ROUND": 1, "NUM_CLIPS": 20}


def run() -> list[dict]:
    """Examples per second, and seconds to the first batch."""
    with tempfile.TemporaryDirectory() as folder:
        records = write_digits_records(
            pathlib.Path(folder), num_clips=NUM_CLIPS, side=STORED_SIDE, frames=NUM_STORED
        )
        return [_throughput(records), _resume(records)]


def _config(folder: str) -> InputConfig:
    return InputConfig(
        datasets={"synthetic": DatasetConfig(path=folder)},
        batch_size=BATCH_SIZE,
        video=VideoInputConfig(NUM_FRAMES, FRAME_STRIDE, SIDE, SIDE, "random", True, 0.0),
        audio=AudioInputConfig(NUM_SAMPLES, SAMPLE_RATE_HZ),
    )


def _throughput(folder: str) -> dict:
    ours = iter(build_train_dataset(_config(folder), seed=0))
    plain = iter(_plain_dataset(folder))
    for iterator in (ours, plain):
        batch = next(iterator)
        assert batch["video"].shape == (BATCH_SIZE, NUM_FRAMES, SIDE, SIDE, 3)
        assert batch["audio"].shape == (BATCH_SIZE, NUM_SAMPLES)
    pairs = [(_rate(ours), _rate(plain)) for _ in range(ROUNDS)]
    ratio = statistics.median(left / right for left, right in pairs)
    medians = map(statistics.median, zip(*pairs, strict=True))
    name = "input examples/s ÷ plain tf.data that decodes every frame"
    return result(name, *medians, ratio, "examples/s", least=1.5)


def _rate(iterator: Iterator) -> float:
    """Examples per second, from a moment at which nothing is prepared ahead."""
    for _ in range(4):
        next(iterator)
    start = time.perf_counter()
    for _ in range(BATCHES_PER_ROUND):
        next(iterator)
    return BATCHES_PER_ROUND * BATCH_SIZE / (time.perf_counter() - start)


def _plain_dataset(folder: str) -> tf.data.Dataset:
    """What a tutorial writes: shuffle buffer, parse one by one, decode all, resize all, slice."""
    files = [str(path) for path in sorted(pathlib.Path(folder).glob("train-*.tfrecord"))]
    return (
        tf.data.TFRecordDataset(files)
        .shuffle(256, seed=0)
        .repeat()
        .map(_plain_example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH_SIZE, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _plain_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    _, lists = tf.io.parse_single_sequence_example(
        serialized,
        sequence_features={
            contract.FRAMES: tf.io.FixedLenSequenceFeature([], tf.string),
            contract.WAVEFORM_PCM16: tf.io.FixedLenSequenceFeature([], tf.string),
        },
    )
    frames = tf.map_fn(
        lambda frame: tf.io.decode_jpeg(frame, channels=3),
        lists[contract.FRAMES],
        fn_output_signature=tf.TensorSpec([STORED_SIDE, STORED_SIDE, 3], tf.uint8),
    )
    video = tf.image.resize(tf.cast(frames, tf.float32) * (2 / 255) - 1, [SIDE, SIDE])
    video = tf.image.random_flip_left_right(video)
    start = tf.random.uniform([], 0, NUM_STORED - NUM_FRAMES * FRAME_STRIDE + 1, tf.int32)
    video = video[start : start + NUM_FRAMES * FRAME_STRIDE : FRAME_STRIDE]
    samples = tf.io.decode_raw(lists[contract.WAVEFORM_PCM16][0], tf.int16)
    samples = tf.cast(samples, tf.float32) / 32768
    noise = 0.01 * tf.reduce_max(tf.abs(samples)) * tf.random.normal(tf.shape(samples))
    samples = (samples + noise)[start * 2000 : start * 2000 + NUM_SAMPLES]
    return {
        "video": tf.ensure_shape(video, [NUM_FRAMES, SIDE, SIDE, 3]),
        "audio": tf.ensure_shape(samples, [NUM_SAMPLES]),
    }


def _resume(folder: str) -> dict:
    config = _config(folder)
    _first_batch_seconds(config, 0)
    pairs = [[_first_batch_seconds(config, step) for step in (LATE_STEP, 0)] for _ in range(ROUNDS)]
    return compare(f"first batch at step {LATE_STEP:,} ÷ at step 0", pairs, "s", most=1.1)


def _first_batch_seconds(config: InputConfig, step: int) -> float:
    start = time.perf_counter()
    next(iter(build_train_dataset(config, seed=0, start_step=step)))
    return time.perf_counter() - start
