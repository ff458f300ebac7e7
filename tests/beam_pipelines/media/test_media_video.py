"""Frames: which ones, in which order, turned, scaled and coloured how."""

import fractions
import io

import av
import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.pictures.frames import Orientation, orientation_of_matrix, output_size
from beam_pipelines.media.probe import probe
from beam_pipelines.rejects import Reject, RejectCode
from tests.beam_pipelines.media import media_samples as samples


def shown(decoded, count=64):
    """Numbers of the `grey_ramp` pictures that the frames show."""
    levels = np.array([samples.grey_ramp(k, count)[0, 0, 0] for k in range(count)], float)
    return [int(np.abs(levels - b).argmin()) for b in samples.brightness(decoded.frames)]


def ramp(path, times_ms, **options):
    pictures = [samples.grey_ramp(k) for k in range(len(times_ms))]
    samples.write_video(path, pictures, times_ms, options={"bf": "0"}, **options)
    return str(path)


def test_constant_rate_is_thinned(tmp_path):
    path = ramp(tmp_path / "a.mp4", [40 * k for k in range(50)])
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=5))
    assert shown(decoded) == list(range(0, 50, 5))
    np.testing.assert_allclose(decoded.frame_times_seconds, np.arange(10) / 5)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_variable_rate_shows_the_latest_frame(tmp_path, suffix):
    # A rush of frames, then a gap of 600 ms, then a slow end.
    times = [0, 30, 60, 90, 120, 720, 760, 1000]
    path = ramp(tmp_path / f"v.{suffix}", times)
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=10))
    expected = [max(k for k, t in enumerate(times) if t <= 100 * g + 0.5) for g in range(11)]
    assert shown(decoded)[:11] == expected == [0, 3, 4, 4, 4, 4, 4, 4, 6, 6, 7]


def test_rounded_time_stamps_meet_their_grid_points(tmp_path):
    # Matroska rounds to milliseconds: 33, 67, 100; the third frame lies after 2/30 s.
    path = ramp(tmp_path / "r.mkv", [1000 * k / 30 for k in range(30)], rate=30)
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=30))
    assert shown(decoded) == list(range(30))


def test_higher_rate_repeats(tmp_path):
    path = ramp(tmp_path / "a.mp4", [0, 500, 1000], rate=2)
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=8))
    assert shown(decoded) == [0] * 4 + [1] * 4 + [2] * 4


def test_without_a_rate_every_frame_keeps_its_time(tmp_path):
    times = [0, 40, 200, 240]
    decoded = decode.decode(ramp(tmp_path / "v.mkv", times), DecodeRequest())
    assert shown(decoded) == [0, 1, 2, 3]
    np.testing.assert_allclose(decoded.frame_times_seconds, np.array(times) / 1000, atol=1e-3)


@pytest.mark.parametrize("start_ms", [-40, 100_000])
def test_first_time_stamp_becomes_zero(tmp_path, start_ms):
    path = ramp(tmp_path / "s.mkv", [start_ms + 100 * k for k in range(10)], rate=10)
    decoded = decode.decode(path, DecodeRequest(frame_rate_hz=10))
    assert shown(decoded) == list(range(10)) and decoded.frame_times_seconds[0] == 0
    assert decoded.info.duration_seconds == pytest.approx(1.0, abs=0.15)


def test_b_frames_come_in_order_of_display(tmp_path):
    pictures = [samples.grey_ramp(k) for k in range(30)]
    samples.write_video(tmp_path / "b.mp4", pictures, options={"bf": "3", "preset": "medium"})
    assert shown(decode.decode(str(tmp_path / "b.mp4"), DecodeRequest())) == list(range(30))


def test_windows_agree_with_the_whole(tmp_path):
    count = 250
    times = [40 * k for k in range(count)]
    pictures = [samples.grey_ramp(k, count) for k in range(count)]
    options = {"bf": "0", "g": "25"}
    samples.write_video(tmp_path / "l.mp4", pictures, times, options=options)
    path, request = str(tmp_path / "l.mp4"), DecodeRequest(frame_rate_hz=5)
    whole = decode.decode(path, request)
    windows = [(6.0, 8.0), (0.0, 1.0), (7.0, 9.0), (9.5, None), (20.0, 21.0)]
    clips = decode.clip_windows(path, request, windows)
    for (start, end), clip in zip(windows[:4], clips[:4], strict=True):
        part = slice(round(start * 5 + 0.4), None if end is None else round(end * 5))
        expected = samples.brightness(whole.frames)[part]
        if start != 9.5:  # that one lies between two points of the whole file's grid
            found = [np.asarray(Image.open(io.BytesIO(j))).mean() for j in clip.frames_jpeg]
            np.testing.assert_allclose(found, expected, atol=1.0)
        np.testing.assert_allclose(clip.frame_times_seconds[0], start)
    assert len(clips[3].frames_jpeg) == 3
    assert clips[4].code == RejectCode.TOO_SHORT


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_seek_gives_the_same_frames(tmp_path, suffix):
    count = 250
    pictures = [samples.grey_ramp(k, count) for k in range(count)]
    path = str(tmp_path / f"l.{suffix}")
    samples.write_video(path, pictures, options={"bf": "0", "g": "50"})
    request = DecodeRequest(frame_rate_hz=12.5)
    whole = decode.decode(path, request)
    part = decode.decode(path, DecodeRequest(frame_rate_hz=12.5, start_seconds=8, end_seconds=9))
    np.testing.assert_array_equal(part.frames, whole.frames[100:113][: len(part.frames)])
    assert len(part.frames) in (12, 13)


@pytest.mark.parametrize(
    ("rotation", "expected"), [(0, "RGBW"), (90, "GWRB"), (180, "WBGR"), (-90, "BRWG")]
)
def test_rotation_is_counter_clockwise(tmp_path, rotation, expected):
    path = tmp_path / "r.mp4"
    samples.write_video(path, [samples.quadrants()] * 3, rotation=rotation)
    decoded = decode.decode(str(path), DecodeRequest(short_side=48))
    assert samples.corners(decoded.frames[0]) == expected
    turned = rotation % 180 != 0
    assert decoded.frames.shape[1:3] == ((64, 48) if turned else (48, 64))
    assert decoded.info.rotation_degrees == rotation % 360
    info = probe(str(path))
    assert (info.width, info.height) == ((96, 128) if turned else (128, 96))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_display_matrices(flip, turns):
    # A picture of its own coordinates, moved by the matrix, equals the picture turned.
    angle = np.deg2rad(90 * turns)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([-1 if flip else 1, 1])  # columns: images of the x and the y axis
    found = orientation_of_matrix(*(matrix.T.ravel() * 65536).round())
    assert found == Orientation(turns, flip)
    side = 3
    picture = np.arange(side * side).reshape(side, side, 1)
    moved = np.zeros_like(picture)
    for y in range(side):
        for x in range(side):
            to_x, to_y = (matrix @ [x - 1, y - 1]).round().astype(int) + 1
            moved[to_y, to_x] = picture[y, x]
    np.testing.assert_array_equal(found.apply(picture), moved)


def test_output_size():
    assert output_size(1920, 1080, 1.0, 240) == (427, 240)
    assert output_size(1080, 1920, 1.0, 240) == (240, 427)
    assert output_size(720, 576, 64 / 45, 288) == (512, 288)  # PAL wide screen
    assert output_size(100, 50, 1.0, 240) == (100, 50)  # never enlarged
    assert output_size(640, 8, 1 / 60, 64) == (11, 8)


def test_square_pixels(tmp_path):
    path = tmp_path / "s.mp4"
    samples.write_video(path, [samples.quadrants(96, 64)] * 2, aspect_ratio="2")
    decoded = decode.decode(str(path), DecodeRequest(short_side=48))
    assert decoded.frames.shape[1:3] == (48, 64)
    assert samples.corners(decoded.frames[0]) == "RGBW"


BT601, BT709, LIMITED, FULL = 5, 1, 1, 2


@pytest.mark.parametrize("short_side", [None, 24])
@pytest.mark.parametrize("color", [(BT601, LIMITED), (BT709, LIMITED), (BT709, FULL)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le"])
def test_colors_survive(tmp_path, pixel_format, color, short_side):
    expected = (200, 60, 30)
    path = tmp_path / "c.mkv"
    picture = samples.flat(expected, 96, 128)
    samples.write_video(path, [picture] * 2, pixel_format=pixel_format, color=color)
    decoded = decode.decode(str(path), DecodeRequest(short_side=short_side))
    np.testing.assert_allclose(decoded.frames.mean(axis=(0, 1, 2)), expected, atol=4)


def test_reduction_averages(tmp_path):
    # One-pixel stripes turn grey; a reduction that picks pixels would leave stripes or extremes.
    picture = samples.flat(samples.BLACK, 128, 128)
    picture[::2] = 255
    path = tmp_path / "s.mkv"
    samples.write_video(path, [picture], codec="ffv1", pixel_format="yuv420p")
    frames = decode.decode(str(path), DecodeRequest(short_side=32)).frames
    assert abs(frames.mean() - 128) < 4 and frames.std() < 4


def test_alpha_lies_on_black(tmp_path):
    path = str(tmp_path / "a.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgra"
        picture = np.full((32, 32, 4), 200, np.uint8)
        picture[:, :16, 3], picture[:, 16:, 3] = 255, 0
        frame = av.VideoFrame.from_ndarray(picture, format="bgra")
        frame.time_base, frame.pts = fractions.Fraction(1, 25), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = decode.decode(path, DecodeRequest()).frames
    assert (frames[0, :, :16] == 200).all() and (frames[0, :, 16:] == 0).all()


def test_limits(tmp_path):
    path = ramp(tmp_path / "a.mp4", [40 * k for k in range(50)])
    for request, code in (
        (DecodeRequest(max_pixels=3000), RejectCode.TOO_MANY_PIXELS),
        (DecodeRequest(max_seconds=1.5), RejectCode.TOO_LONG),
        (DecodeRequest(max_file_bytes=100), RejectCode.FILE_TOO_LARGE),
        (DecodeRequest(want_video=False), RejectCode.NO_STREAMS),
    ):
        reject = decode.decode(path, request)
        assert isinstance(reject, Reject) and reject.code == code, reject
    window = DecodeRequest(max_seconds=1.5, end_seconds=1.0, frame_rate_hz=10)
    assert len(decode.decode(path, window).frames) == 10
    assert probe(path, DecodeRequest(max_pixels=3000)).code == RejectCode.TOO_MANY_PIXELS


def test_length_is_limited_where_none_is_stated(tmp_path):
    path = ramp(tmp_path / "a.h264", [40 * k for k in range(50)], container_format="h264")
    assert decode.decode(path, DecodeRequest(max_seconds=1.5)).code == RejectCode.TOO_LONG


def test_jump_of_time_stamps(tmp_path):
    path = ramp(tmp_path / "j.ts", [0, 40, 5_000_000])
    reject = decode.decode(path, DecodeRequest(frame_rate_hz=10))
    assert reject.code == RejectCode.CORRUPT_VIDEO and "jump by" in reject.detail


def test_more_threads_give_the_same(tmp_path):
    path = ramp(tmp_path / "a.mp4", [40 * k for k in range(50)])
    one, two = (decode.decode(path, DecodeRequest(decoder_threads=n)) for n in (1, 2))
    np.testing.assert_array_equal(one.frames, two.frames)


def test_jpeg_quality(tmp_path):
    path = tmp_path / "q.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    samples.write_video(path, [noise])
    low, high = (
        decode.clip_media(str(path), DecodeRequest(jpeg_quality=q)).frames_jpeg[0] for q in (30, 95)
    )
    assert len(high) > 2 * len(low)
    truth = decode.decode(str(path), DecodeRequest()).frames[0].astype(float)
    error = np.asarray(Image.open(io.BytesIO(high))) - truth
    assert np.abs(error).mean() < 20


def damaged(path, share):
    """Overwrites bytes in the middle of the file's media data."""
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    middle = start + int((len(data) - start) * share)
    data[middle : middle + 24] = b"\xff\x00\xab" * 8
    path.write_bytes(data)


def test_damage_policy(tmp_path):
    path = tmp_path / "d.mp4"
    pictures = [
        np.random.default_rng(k // 25).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        for k in range(200)
    ]
    options = {"g": "25", "bf": "0", "qp": "30"}
    samples.write_video(path, pictures, options=options)
    assert len(decode.decode(str(path), DecodeRequest()).frames) == 200
    damaged(path, 0.45)
    strict = decode.decode(str(path), DecodeRequest())
    assert isinstance(strict, Reject) and strict.code == RejectCode.CORRUPT_VIDEO
    lenient = decode.decode(str(path), DecodeRequest(max_damaged_share=0.5))
    assert len(lenient.frames) > 150 and any("damaged" in w for w in lenient.warnings)
    windows = [(float(k), k + 1.0) for k in range(8)]
    by_window = DecodeRequest(frame_rate_hz=25, damage_scope="window")
    clips = decode.clip_windows(str(path), by_window, windows)
    rejected = [k for k, clip in enumerate(clips) if isinstance(clip, Reject)]
    assert 1 <= len(rejected) <= 2 and all(2 <= k <= 4 for k in rejected)
    whole_file = decode.clip_windows(str(path), DecodeRequest(frame_rate_hz=25), windows)
    assert [clip.code for clip in whole_file] == [RejectCode.CORRUPT_VIDEO] * 8


def test_truncation_by_window(tmp_path):
    path = tmp_path / "t.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)
    samples.write_video(path, list(noise), options={"g": "10", "bf": "0"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert decode.decode(str(path), DecodeRequest()).code == RejectCode.TRUNCATED
    request = DecodeRequest(frame_rate_hz=10, damage_scope="window")
    clips = decode.clip_windows(str(path), request, [(0.0, 1.0), (1.0, 3.5)])
    assert len(clips[0].frames_jpeg) == 10 and clips[1].code == RejectCode.TRUNCATED


@pytest.mark.parametrize("field", ["frame_rate_hz", "short_side", "sample_rate_hz", "max_pixels"])
def test_request_refuses_nonsense(field):
    with pytest.raises(ValueError, match=field):
        DecodeRequest(**{field: 0})
    with pytest.raises(ValueError, match="end_seconds"):
        DecodeRequest(start_seconds=2, end_seconds=2)
    with pytest.raises(ValueError, match="damage_scope"):
        DecodeRequest(damage_scope="clip")
