"""Streams as containers cut, join and index them: windows, links one behind the other, tables."""

import av
import numpy as np
import pytest

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.probe import probe
from beam_pipelines.media.tracks import VideoTrack
from beam_pipelines.rejects import Reject, RejectCode
from tests.beam_pipelines.media import media_samples as samples

RATE = 44_100


def interleaved(path, video_codec, audio_codec, seconds=12, options=None):
    """A film whose pictures tell their number and whose tone rises, in one container."""
    count = 25 * seconds
    hertz = 300 + 50 * np.arange(RATE * seconds) / RATE
    sound = (0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(audio_codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(audio.format.name, "mono", RATE, audio.frame_size or 1024)
        for number in range(count):
            picture = samples.grey_ramp(number, count)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            part = sound[RATE * number // 25 : RATE * (number + 1) // 25]
            frame = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            for block in resampler.resample(frame):
                container.mux(audio.encode(block))
        container.mux(video.encode())
        for block in resampler.resample(None):
            container.mux(audio.encode(block))
        container.mux(audio.encode())
    return path


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec"),
    [
        ("a.mpg", "mpeg2video", "mp2"),
        ("a.ts", "mpeg2video", "mp2"),
        ("b.ts", "libx264", "aac"),
        ("a.mov", "libx264", "pcm_s16le"),
        ("a.mp4", "libx264", "aac"),
        ("a.avi", "mpeg4", "libmp3lame"),
        ("a.flv", "libx264", "aac"),
    ],
)
def test_windows_of_sound_and_pictures_equal_the_whole(tmp_path, name, video_codec, audio_codec):
    path = str(interleaved(tmp_path / name, video_codec, audio_codec))
    rates = {"frame_rate_hz": 25, "sample_rate_hz": 16_000}
    whole = decode.decode(path, DecodeRequest(**rates))
    for start in (3.32, 4.8, 7.2, 10.08):
        request = DecodeRequest(start_seconds=start, end_seconds=start + 0.8, **rates)
        window = decode.decode(path, request)
        first = round(start * 16_000)
        expected = whole.waveform[first : first + 12_800]
        np.testing.assert_allclose(window.waveform, expected, atol=1e-5)
        shown = [np.abs(whole.frame_times_seconds - t).argmin() for t in window.frame_times_seconds]
        np.testing.assert_allclose(window.frames, whole.frames[shown], atol=6)


@pytest.mark.parametrize("name", ["a.ts", "a.flv"])
def test_pictures_before_the_window_are_not_decoded(tmp_path, monkeypatch, name):
    decoded = []
    decode_packet = VideoTrack._frames_of

    def count(track, packet):
        decoded.append(packet)
        return decode_packet(track, packet)

    monkeypatch.setattr(VideoTrack, "_frames_of", count)
    options = {"g": "25", "bf": "0"}
    path = interleaved(tmp_path / name, "libx264", "aac", seconds=10, options=options)
    request = DecodeRequest(frame_rate_hz=25, start_seconds=9.0, end_seconds=9.4)
    shown = samples.brightness(decode.decode(str(path), request).frames)
    expected = [samples.grey_ramp(k, 250)[0, 0, 0] for k in range(225, 235)]
    np.testing.assert_allclose(shown, expected, atol=3)
    assert len(decoded) < 60  # of 250


@pytest.mark.parametrize(
    "codec", ["pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le", "pcm_mulaw", "adpcm_ima_qt"]
)
def test_a_table_of_samples_is_no_table_of_packets(tmp_path, codec):
    path = interleaved(tmp_path / "a.mov", "libx264", codec, seconds=2)
    decoded = decode.decode(str(path), DecodeRequest())
    assert len(decoded.frames) == 50 and not decoded.warnings
    assert len(decoded.waveform) == pytest.approx(2 * RATE, abs=100)


def tone_hertz(waveform, rate):
    return np.abs(np.fft.rfft(waveform)).argmax() * rate / len(waveform)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *(("opus", "libopus"), ("oga", "flac"), ("mka", "flac"), ("ts", "mp2")),
        *(("mp3", "libmp3lame"), ("aac", "aac")),
    ],
)
def test_sounds_one_behind_the_other(tmp_path, suffix, codec):
    rate = 48_000
    for name, hertz, seconds in (("a", 400, 2.5), ("b", 900, 3.0)):
        path = tmp_path / f"{name}.{suffix}"
        samples.write_audio(path, samples.sine(hertz, seconds, rate)[None], rate, codec=codec)
    path = samples.join(
        tmp_path / f"c.{suffix}", tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    )
    decoded = decode.decode(str(path), DecodeRequest())
    waveform = decoded.waveform
    assert len(waveform) / rate == pytest.approx(5.5, abs=0.15)
    middle = round(2.5 * rate)
    assert tone_hertz(waveform[2000 : middle - 6000], rate) == pytest.approx(400, abs=3)
    assert tone_hertz(waveform[middle + 8000 : -8000], rate) == pytest.approx(900, abs=3)
    assert codec == "aac" or decoded.properties == ("chained",)  # ADTS has no time stamps
    assert probe(str(path)).duration_seconds == pytest.approx(len(waveform) / rate, abs=0.2)
    late = DecodeRequest(start_seconds=4.5, end_seconds=5.0)
    window = decode.decode(str(path), late).waveform
    first = round(4.5 * rate)
    np.testing.assert_allclose(window, waveform[first : first + rate // 2], atol=1e-5)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("ts", "libx264"), ("mkv", "libx264"), ("webm", "libvpx")]
)
def test_films_one_behind_the_other(tmp_path, suffix, codec):
    parts = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for part, first in zip(parts, (0, 50), strict=True):
        pictures = [samples.grey_ramp(first + k, 100) for k in range(50)]
        samples.write_video(part, pictures, codec=codec, options={"g": "25", "bf": "0"})
    path = str(samples.join(tmp_path / f"c.{suffix}", *parts))
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=25))
    assert decoded.properties == ("chained",)
    levels = samples.brightness(decoded.frames)
    expected = [samples.grey_ramp(k, 100)[0, 0, 0] for k in range(100)]
    np.testing.assert_allclose(levels, expected, atol=3)
    window = decode.decode(path, DecodeRequest(frame_rate_hz=25, start_seconds=3, end_seconds=3.4))
    np.testing.assert_allclose(samples.brightness(window.frames), expected[75:85], atol=3)


def test_a_joint_of_transport_streams_is_no_damage(tmp_path):
    # Where the counters of both files meet decides what the demuxer misses at the joint.
    for number in range(10, 26):
        part = tmp_path / f"{number}.ts"
        pictures = [samples.grey_ramp(k) for k in range(number)]
        samples.write_video(part, pictures, options={"bf": "0"})
        decoded = decode.decode(str(samples.join(tmp_path / "c.ts", part, part)), DecodeRequest())
        assert len(decoded.frames) == 2 * number


def test_a_time_stamp_that_repeats_is_no_damage(tmp_path):
    path = tmp_path / "r.mkv"
    times = [0, 40, 80, 80.2, 120, 160]  # a tick of Matroska is a millisecond
    samples.write_video(path, [samples.grey_ramp(k) for k in range(6)], times, codec="ffv1")
    decoded = decode.decode(str(path), DecodeRequest())
    assert len(decoded.frames) == 6
    assert decoded.warnings == ("a time stamp repeats at 0.080 s: shown a tick later",)


def spoilt(path, share):
    content = bytearray(path.read_bytes())
    middle = content.find(b"mdat") + int(share * len(content))
    content[middle : middle + 24] = b"\xff\x00\xab" * 8
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_damage_costs_the_windows_that_it_lies_in(tmp_path, share):
    path = tmp_path / "d.mp4"
    noise = [
        np.random.default_rng(k // 25).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        for k in range(200)
    ]
    samples.write_video(path, noise, options={"g": "25", "bf": "0", "qp": "30"})
    spoilt(path, share)
    windows = [(float(k), k + 1.0) for k in range(8)]
    request = DecodeRequest(frame_rate_hz=25, damage_scope="window")
    clips = decode.clip_windows(str(path), request, windows)
    assert 1 <= sum(isinstance(clip, Reject) for clip in clips) <= 2


def test_a_cut_costs_the_windows_behind_it(tmp_path):
    path = tmp_path / "c.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)
    options = {"g": "10", "bf": "0", "movflags": "+faststart"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    request = DecodeRequest(frame_rate_hz=10, damage_scope="window")
    assert probe(str(path), request).duration_seconds == pytest.approx(4.0)
    assert probe(str(path)).code == RejectCode.TRUNCATED
    clips = decode.clip_windows(
        str(path), request, [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    )
    assert [isinstance(clip, Reject) for clip in clips] == [False, False, True, True]
    assert clips[3].code in (RejectCode.TRUNCATED, RejectCode.TOO_SHORT)
