"""Sound: rate, level, downmix, and its place on the media's clock."""

import fractions
import pathlib

import av
import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import decode
from beam_pipelines.media.audio import AudioTrack, downmix_weights
from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.probe import probe
from beam_pipelines.rejects import RejectCode
from tests.beam_pipelines.media import media_samples as samples


def spectrum_peak(waveform, rate):
    """Frequency in Hz and amplitude of the strongest sine."""
    window = np.hanning(len(waveform))
    spectrum = np.abs(np.fft.rfft(waveform * window)) * 2 / window.sum()
    peak = spectrum.argmax()
    return peak * rate / len(waveform), spectrum[peak]


@pytest.mark.parametrize("source_rate", [8000, 11_025, 44_100, 48_000])
def test_resampling_keeps_frequency_and_amplitude(tmp_path, source_rate):
    path = tmp_path / "s.wav"
    samples.write_audio(path, samples.sine(1000.0, 1.0, source_rate)[None], source_rate)
    decoded = decode.decode(str(path), DecodeRequest(sample_rate_hz=16_000))
    assert decoded.waveform.shape == (16_000,) and decoded.waveform.dtype == np.float32
    frequency, amplitude = spectrum_peak(decoded.waveform[1000:15_000], 16_000)
    assert frequency == pytest.approx(1000, abs=2) and amplitude == pytest.approx(0.5, rel=0.01)
    truth = samples.sine(1000.0, 1.0, 16_000)  # in phase: the resampler's delay is taken back
    np.testing.assert_allclose(decoded.waveform[1000:15_000], truth[1000:15_000], atol=5e-3)


def test_no_aliases(tmp_path):
    path = tmp_path / "s.wav"
    samples.write_audio(path, samples.sine(15_000.0, 1.0, 48_000)[None], 48_000)
    waveform = decode.decode(str(path), DecodeRequest(sample_rate_hz=16_000)).waveform
    assert np.abs(waveform[1000:-1000]).max() < 0.01


@pytest.mark.parametrize(
    ("codec", "tolerance"),
    [
        ("pcm_u8", 1 / 100),
        ("pcm_s16le", 1e-4),
        ("pcm_s24le", 1e-4),
        ("pcm_s32le", 1e-6),
        ("pcm_f32le", 1e-6),
        ("pcm_f64le", 1e-6),
        ("pcm_s16be", 1e-4),
    ],
)
def test_sample_formats(tmp_path, codec, tolerance):
    path = tmp_path / ("s.aiff" if codec.endswith("be") else "s.wav")
    truth = samples.sine(440.0, 0.2)
    samples.write_audio(path, truth[None], codec=codec)
    decoded = decode.decode(str(path), DecodeRequest())
    assert decoded.sample_rate_hz == 16_000 and decoded.frames is None
    np.testing.assert_allclose(decoded.waveform, truth, atol=tolerance)


def test_stereo_is_averaged(tmp_path):
    left, right = samples.sine(440, 0.5, amplitude=0.8), samples.sine(660, 0.5, amplitude=0.4)
    path = tmp_path / "s.wav"
    samples.write_audio(path, np.stack([left, right]), codec="pcm_f32le")
    decoded = decode.decode(str(path), DecodeRequest())
    np.testing.assert_allclose(decoded.waveform, (left + right) / 2, atol=1e-6)
    assert probe(str(path)).audio_channels == 2


def test_downmix_weights():
    assert downmix_weights(["FL", "FR"]).tolist() == [0.5, 0.5]
    five_one = downmix_weights(["FL", "FR", "FC", "LFE", "BL", "BR"])
    assert five_one.sum() == pytest.approx(1.0) and five_one[3] == 0.0
    assert five_one[2] / five_one[0] == pytest.approx(2**0.5, rel=1e-3)
    assert five_one[4] / five_one[0] == pytest.approx(2**-0.5, rel=1e-3)
    np.testing.assert_allclose(downmix_weights(["?", "?", "?"]), 1 / 3)


def movie(tmp_path, sound, **options):
    path = tmp_path / "m.mkv"
    samples.write_movie(path, [samples.flat((90, 90, 90))] * 50, sound, **options)
    return str(path)


@pytest.mark.parametrize("rate", [16_000, 12_000])
def test_late_sound_is_preceded_by_silence(tmp_path, rate):
    path = movie(tmp_path, samples.sine(440, 0.5), sound_start_seconds=1.0)
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=10, sample_rate_hz=rate))
    assert len(decoded.waveform) == pytest.approx(1.5 * rate, abs=rate * 2e-3)
    loud = np.flatnonzero(np.abs(decoded.waveform) > 0.05)
    assert loud[0] / rate == pytest.approx(1.0, abs=2e-3)
    assert np.abs(decoded.waveform[: int(0.99 * rate)]).max() < 1e-3
    assert len(decoded.frames) == 20


def test_short_sound_is_left_short(tmp_path):
    path = movie(tmp_path, samples.sine(440, 0.5))
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=10))
    assert len(decoded.waveform) == 8000 and len(decoded.frames) == 20


def test_windows_of_sound(tmp_path):
    sound = samples.sine(440, 2.0)
    path = movie(tmp_path, sound)
    request = DecodeRequest(frame_rate_hz=10)
    windows = [(0.25, 0.75), (1.5, 2.5), (0.5, 1.0)]
    clips = decode.clip_windows(path, request, windows)
    for (start, end), clip in zip(windows, clips, strict=True):
        truth = sound[round(start * 16_000) : round(end * 16_000)]
        np.testing.assert_allclose(clip.waveform, truth, atol=1e-4)
    silent = movie(tmp_path, sound[:8000])
    clip = decode.clip_windows(silent, request, [(1.0, 1.5)])[0]
    assert clip.waveform is None and clip.sample_rate_hz == 0 and len(clip.frames_jpeg) == 5


def test_seek_in_sound_keeps_its_place(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.uniform(-0.5, 0.5, 44_100 * 8).astype(np.float32)
    path = tmp_path / "n.flac"
    samples.write_audio(path, sound[None], 44_100, codec="flac")
    whole = decode.decode(str(path), DecodeRequest(sample_rate_hz=16_000)).waveform
    part = decode.decode(
        str(path), DecodeRequest(sample_rate_hz=16_000, start_seconds=6.0, end_seconds=7.0)
    ).waveform
    np.testing.assert_allclose(part, whole[96_000:112_000], atol=1e-5)


def frame_at(seconds, values, rate=1000):
    frame = av.AudioFrame.from_ndarray(
        np.asarray(values, np.float32)[None], format="fltp", layout="mono"
    )
    frame.sample_rate, frame.pts = rate, round(seconds * rate)
    frame.time_base = fractions.Fraction(1, rate)
    return frame


def collect(frames, zero=0.0, max_gap=10.0):
    waveform = np.full(5000, np.nan)

    def emit(position, values):
        waveform[position : position + len(values)] = values

    track = AudioTrack(None, zero, max_gap, emit)
    for frame in frames:
        track.add(frame)
    track.finish()
    return waveform[~np.isnan(waveform)], track.warnings


def test_pauses_overlaps_and_jitter():
    ones = np.ones(100)
    waveform, warnings = collect([frame_at(0, ones), frame_at(0.3, ones)])
    np.testing.assert_array_equal(waveform, np.repeat([1, 0, 1], [100, 200, 100]))
    assert "pauses for 0.200 s at 0.100 s" in warnings[0]
    waveform, warnings = collect([frame_at(0, ones), frame_at(0.103, ones / 2)])
    np.testing.assert_array_equal(waveform, np.repeat([1, 0.5], [100, 100]))
    assert not warnings
    halves = np.repeat([0.25, 0.75], 100)
    waveform, warnings = collect([frame_at(0, np.ones(200)), frame_at(0.1, halves)])
    np.testing.assert_array_equal(waveform, np.repeat([1, 0.75], [200, 100]))
    assert "overlaps" in warnings[0]


def test_sound_before_time_zero_is_dropped():
    waveform, _ = collect([frame_at(-0.06, np.arange(100) / 100), frame_at(0.04, np.ones(10))])
    np.testing.assert_allclose(waveform[:40], np.arange(60, 100) / 100, atol=1e-6)
    assert len(waveform) == 50


@pytest.mark.parametrize(
    "frames",
    [
        [frame_at(0, [1.0, float("nan")])],
        [frame_at(0, [0.1] * 10), frame_at(50.0, [0.1] * 10)],
        [frame_at(0, [0.1] * 10), frame_at(0.01, [0.1] * 10, rate=2000)],
    ],
    ids=["not finite", "jump", "rate change"],
)
def test_nonsense_is_rejected(frames):
    with pytest.raises(Rejection) as caught:
        collect(frames)
    assert caught.value.reject.code == RejectCode.CORRUPT_AUDIO


def test_float_files_are_clipped(tmp_path):
    path = tmp_path / "loud.wav"
    samples.write_audio(path, samples.sine(440, 0.1, amplitude=3.0)[None], codec="pcm_f32le")
    assert np.abs(decode.decode(str(path), DecodeRequest()).waveform).max() == 1.0


def test_cover_picture_is_not_video(tmp_path):
    path = str(tmp_path / "c.mp3")
    samples.write_audio(path, samples.sine(440, 0.5)[None], codec="libmp3lame")
    tagged = pathlib.Path(path).read_bytes()
    picture = b"\x00image/png\x00\x03\x00" + samples.png_bytes(Image.new("RGB", (8, 8), "red"))
    body = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = len(body)
    syncsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    audio = tagged[max(tagged.find(b"\xff\xf3"), 0) :]
    pathlib.Path(path).write_bytes(b"ID3\x03\0\0" + syncsafe + body + audio)
    info = probe(path)
    assert info.has_audio and not info.has_video and info.num_video_streams == 0
    assert decode.decode(path, DecodeRequest()).frames is None


def test_only_sound_is_wanted(tmp_path):
    path = movie(tmp_path, samples.sine(440, 0.5))
    decoded = decode.decode(path, DecodeRequest(want_video=False))
    assert decoded.frames is None and len(decoded.waveform) == 8000
    pictures = decode.decode(path, DecodeRequest(want_audio=False))
    assert pictures.waveform is None and len(pictures.frames) == 50


def test_wave_length_fields(tmp_path):
    path = tmp_path / "s.wav"
    samples.write_audio(path, samples.sine(440, 1.0)[None])
    data = path.read_bytes()
    field = data.find(b"data") + 4
    for value, code in ((0, None), (0xFFFFFFFF, None), (40_000, RejectCode.TRUNCATED)):
        path.write_bytes(data[:field] + value.to_bytes(4, "little") + data[field + 4 :])
        result = decode.decode(str(path), DecodeRequest())
        if code is None:
            assert len(result.waveform) == 16_000 and "length field" in result.warnings[0]
        else:
            assert result.code == code
