import io
import wave

import numpy as np
import pytest
import tensorflow as tf

from mm_models.signal import frames, spectrogram, waveform


def _pixels(height=24, width=40):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 / height, x * 255 / width, (x + y) % 256], -1).astype(np.uint8)


def test_decoding_a_box_equals_cropping():
    encoded = tf.io.encode_jpeg(_pixels(48, 64), quality=95)
    box = frames.Box(*map(tf.constant, (5, 9, 20, 30)))
    whole = frames.decode_picture(encoded)[5:25, 9:39]
    difference = np.abs(
        frames.decode_jpeg_box(encoded, box).numpy().astype(int) - whole.numpy().astype(int)
    )
    # Chroma is interpolated from fewer neighbours at the edges of the box.
    assert difference[2:-2, 2:-2].max() <= 1 and difference.max() <= 16


def test_grey_jpegs_become_three_channels():
    encoded = tf.io.encode_jpeg(_pixels()[..., :1])
    assert frames.decode_picture(encoded).shape == (24, 40, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        frames.decode_picture(encoded.numpy()[:-40])


@pytest.mark.parametrize(
    ("size", "crop", "box"),
    [
        ((24, 40), (12, 12), (0, 8, 24, 24)),
        ((40, 24), (12, 12), (8, 0, 24, 24)),
        ((24, 40), (10, 20), (2, 0, 20, 40)),
        ((24, 40), (24, 40), (0, 0, 24, 40)),
    ],
)
def test_center_boxes(size, crop, box):
    found = frames.center_box(tf.constant(size[0]), tf.constant(size[1]), *crop)
    assert tuple(int(value) for value in found) == box


def test_resize_equals_float64_bilinear():
    clip = _pixels()[np.newaxis]
    found = frames.resize(tf.constant(clip), 16, 30)[0]
    rows = np.clip((np.arange(16) + 0.5) * 24 / 16 - 0.5, 0, 23)
    columns = np.clip((np.arange(30) + 0.5) * 40 / 30 - 0.5, 0, 39)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = np.minimum(top + 1, 23), np.minimum(left + 1, 39)
    y, x = (rows - top)[:, None, None], (columns - left)[None, :, None]
    image = clip[0].astype(np.float64)
    upper = image[top][:, left] * (1 - x) + image[top][:, right] * x
    lower = image[down][:, left] * (1 - x) + image[down][:, right] * x
    np.testing.assert_allclose(found, upper * (1 - y) + lower * y, atol=1e-3)
    np.testing.assert_array_equal(frames.resize(tf.constant(clip), 24, 40), clip)


def test_model_range():
    found = frames.to_model_range(tf.constant([0, 255, 51], tf.uint8))
    np.testing.assert_allclose(found, [-1.0, 1.0, -0.6], atol=1e-6, rtol=1e-4)


def test_center_crop_of_a_clip():
    clip = np.stack([_pixels()] * 2)
    found = frames.resize_short_side_and_center_crop(tf.constant(clip), 24, 24)
    np.testing.assert_array_equal(found, clip[:, :, 8:32])


def test_waveforms_decode():
    samples = np.array([0, 16384, -32768, 32767], "<i2")
    expected = samples / 32768
    np.testing.assert_array_equal(waveform.decode_pcm16(samples.tobytes()), expected)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(np.stack([samples, samples // 2], 1).astype("<i2").tobytes())
    sound = waveform.decode_wav(file.getvalue())
    assert int(sound.sample_rate_hz) == 8000
    np.testing.assert_allclose(sound.samples, expected * 0.75, atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        waveform.decode_wav(b"RIFFnothing")


def test_lengths_are_fitted():
    samples = tf.range(10, dtype=tf.float32)
    assert waveform.fit_length(samples, 4).numpy().tolist() == [3, 4, 5, 6]
    assert waveform.fit_length(samples, 10).numpy().tolist() == list(range(10))
    assert waveform.fit_length(samples, 13).numpy().tolist() == [*range(10), 0, 1, 2]
    assert waveform.fit_length(tf.zeros([0]), 3).numpy().tolist() == [0, 0, 0]
    assert waveform.window(samples, tf.constant(7), 3, 2).numpy().tolist() == [7, 9, 1]


def _reference_log_mel(samples, config):
    """float64 NumPy: Hann window, magnitudes, HTK mel triangles, log, min-max."""
    window = round(config.window_ms * config.sample_rate_hz / 1000)
    step = round(config.step_ms * config.sample_rate_hz / 1000)
    count = -(-len(samples) // step)
    padded = np.concatenate([samples, np.zeros(window + step)]).astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    pieces = np.stack([padded[start * step :][:window] * hann for start in range(count)])
    magnitudes = np.abs(np.fft.rfft(pieces))
    mel = lambda hz: 1127.0 * np.log1p(hz / 700.0)  # noqa: E731
    bins = mel(np.linspace(0, config.sample_rate_hz / 2, window // 2 + 1))
    edges = np.linspace(mel(config.low_hz), mel(config.high_hz), config.num_mels + 2)
    up = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(up, down))
    triangles[0] = 0
    values = np.log1p(config.log_gain * magnitudes @ triangles)
    if config.scaling == "standard":
        values = values - values.mean(axis=0)
        return values / values.std()
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize("scaling, tolerance", [("min_max", 2e-4), ("standard", 2e-3)])
@pytest.mark.parametrize("sample_rate_hz", [48_000, 24_000])
def test_spectrogram_equals_the_reference(sample_rate_hz, scaling, tolerance):
    config = spectrogram.LogMelConfig(sample_rate_hz=sample_rate_hz, scaling=scaling)
    time_seconds = np.arange(int(0.5 * sample_rate_hz)) / sample_rate_hz
    samples = (0.3 * np.sin(2 * np.pi * 440 * time_seconds)).astype(np.float32)
    samples += 0.01 * np.random.default_rng(0).normal(size=len(samples)).astype(np.float32)
    found = spectrogram.log_mel(tf.constant([samples]), config)
    assert found.shape == (1, spectrogram.num_frames(len(samples), config), 80)
    np.testing.assert_allclose(found[0], _reference_log_mel(samples, config), atol=tolerance)


@pytest.mark.parametrize(("window", "step"), [(2048, 1024), (683, 341), (400, 160), (401, 100)])
def test_both_transforms_are_the_same_function(window, step):
    samples = 0.1 * tf.random.stateless_normal([2, 9000], (1, 2))
    expected, found = (
        spectrogram.TRANSFORMS[name](samples, window, step) for name in ("fft", "matrix")
    )
    assert found.shape == expected.shape == (2, -(-9000 // step), window // 2 + 1)
    largest = float(tf.reduce_max(expected))
    np.testing.assert_allclose(found / largest, expected / largest, atol=2e-5)


def test_a_product_of_rounded_factors_keeps_float32s_precision():
    """Factors as a TPU multiplies them, rounded to bfloat16, against float64."""
    random = np.random.default_rng(0)
    left, right = (random.normal(size=(64, 64)).astype(np.float32) for _ in range(2))
    halves = [spectrogram._halves(tf.constant(each)) for each in (left, right)]
    for each, (high, low) in zip((left, right), halves, strict=True):
        np.testing.assert_array_equal(high + low, each)
        np.testing.assert_array_equal(tf.cast(tf.cast(high, tf.bfloat16), tf.float32), high)
    exact = left.astype(np.float64) @ right.astype(np.float64)

    def rounded(values):
        return tf.cast(tf.cast(values, tf.bfloat16), tf.float32)

    pairs = [(0, 0), (1, 0), (0, 1)]
    total = sum(rounded(halves[0][i]) @ rounded(halves[1][j]) for i, j in pairs)
    assert np.abs(total - exact).max() < 1e-3
    assert np.abs(rounded(left) @ rounded(right) - exact).max() > 1e-2


def test_spectrogram_of_vatt_and_of_silence():
    config = spectrogram.LogMelConfig()
    assert spectrogram.num_frames(153_600, config) == 150
    for scaling in spectrogram.SCALINGS:
        config = spectrogram.LogMelConfig(scaling=scaling)
        assert not np.any(spectrogram.log_mel(tf.zeros([2, 20_000]), config))


def test_standardized_clips_show_what_moves():
    random = np.random.default_rng(0)
    still = random.normal(size=(1, 1, 4, 5, 3)).repeat(6, axis=1)
    moving = 0.05 * random.normal(size=(1, 6, 4, 5, 3))
    clips = np.concatenate([still, still + moving, 3 * still + moving]).astype(np.float32)
    found = frames.standardize(tf.constant(clips)).numpy()
    centred = moving - moving.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(found[1], (centred / centred.std())[0], atol=1e-4)
    np.testing.assert_allclose(found[2], found[1], atol=1e-4)
