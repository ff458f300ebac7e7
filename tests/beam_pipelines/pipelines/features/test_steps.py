"""Which frames a step has, and which cells a region has."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipelines.pipelines.features.pooling import pool_maps, windows
from beam_pipelines.pipelines.features.step_frames import (
    Steps,
    decode_steps,
    spread,
    steps_of,
)
from beam_pipelines.record import contract
from mm_models.signal.region_grid import grid_positions


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (7, 3, [(0, 2), (2, 4), (4, 6)]),
        (9, 3, [(0, 3), (3, 6), (6, 9)]),
        (3, 3, [(0, 1), (1, 2), (2, 3)]),
        (5, 3, [(0, 2), (1, 4), (3, 5)]),
        (4, 3, [(0, 2), (1, 3), (2, 4)]),
        (14, 3, [(0, 4), (4, 8), (8, 12)]),
        (6, 1, [(0, 6)]),
    ],
)
def test_windows_of_cells(size, count, expected):
    assert windows(size, count) == expected


@given(st.integers(1, 64), st.integers(1, 64))
def test_windows_lie_in_order_and_lose_little(size, count):
    if count > size:
        with pytest.raises(ValueError, match="cells do not give"):
            windows(size, count)
        return
    found = windows(size, count)
    assert len(found) == count and found[0][0] == 0
    assert all(start < end <= size for start, end in found)
    assert all(a[0] < b[0] and b[0] <= a[1] for a, b in zip(found, found[1:], strict=False))
    assert size - found[-1][1] <= size / 7


def test_maps_are_averaged_as_by_pooling_of_stride_two():
    maps = np.arange(2 * 7 * 7 * 2, dtype=np.float32).reshape(2, 7, 7, 2)
    pooled = pool_maps(maps, 3, 3)
    for row in range(3):
        for column in range(3):
            window = maps[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_allclose(pooled[:, row, column], window.mean(axis=(1, 2)))


def record(times_us: list[int], start_us: int = 0) -> tuple[dict, dict]:
    lists = {
        contract.FRAMES: [[b""] for _ in times_us],
        contract.FRAME_TIMESTAMPS: [[time] for time in times_us],
    }
    return {contract.CLIP_START: [start_us]}, lists


def test_frames_belong_to_the_step_that_they_show_in():
    context, lists = record([2_000_000 + 400_000 * n for n in range(6)], start_us=2_000_000)
    steps = steps_of(context, lists, 1.0)
    assert steps.starts_us == [2_000_000, 3_000_000, 4_000_000]
    assert [found.tolist() for found in steps.frames] == [[0, 1, 2], [3, 4], [5]]
    halves = steps_of(context, lists, 0.5)
    assert [found.tolist() for found in halves.frames] == [[0, 1, 2, 3, 4], [5]]


def test_a_step_between_frames_shows_the_one_before():
    steps = steps_of(*record([0, 100_000, 3_333_333]), 3.0)
    assert [found.tolist() for found in steps.frames][:3] == [[0, 1], [1], [1]]
    # 10 / 3 s, rounded down to a microsecond, is the start of the tenth third.
    assert len(steps.frames) == 11 and steps.frames[10].tolist() == [2]


def test_a_window_lies_around_the_middle_of_a_step_and_inside_the_clip():
    times = [round(n * 1e6 / 25) for n in range(20)]
    steps = steps_of(*record(times), 6.25, window_seconds=0.32)
    # Steps of four frames, windows of eight.
    expected = [range(8), range(2, 10), range(6, 14), range(10, 18), range(12, 20)]
    assert [found.tolist() for found in steps.frames] == [list(one) for one in expected]
    # A clip that is shorter than the window is all of it; without frames it has the one before.
    assert steps_of(*record(times[:3]), 6.25, 0.32).frames[0].tolist() == [0, 1, 2]
    late = steps_of(*record([0, 100_000, 2_900_000]), 2.0, 0.5)
    assert [found.tolist() for found in late.frames] == [[0, 1], [1], [1], [1], [1], [2]]


def test_records_without_times_go_by_their_rate():
    context, lists = record([0] * 5)
    del lists[contract.FRAME_TIMESTAMPS]
    steps = steps_of({**context, contract.FRAME_RATE: [2.0]}, lists, 1.0)
    assert [found.tolist() for found in steps.frames] == [[0, 1], [2, 3], [4]]


def test_frames_of_a_step_are_spread_over_it():
    assert spread(np.arange(10, 18), 4).tolist() == [11, 13, 15, 17]
    assert spread(np.arange(2), 4).tolist() == [0, 0, 1, 1]
    assert spread(np.arange(3), None).tolist() == [0, 1, 2]


def jpeg(pixels: np.ndarray) -> list[bytes]:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return [content.getvalue()]


def test_pictures_are_fitted_to_what_the_encoder_takes():
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12, 0] = 200  # What the largest central square shows.
    steps = Steps([0], [np.array([0])])
    (clip,) = decode_steps([jpeg(wide)], steps, 2, 8, 8)
    assert clip.shape == (2, 8, 8, 3) and (clip[..., 0] == 200).all()
    (clip,) = decode_steps([jpeg(wide)], steps, None, None, None)
    np.testing.assert_array_equal(clip[0], wide)
    (clip,) = decode_steps([jpeg(wide)], steps, None, 4, 4)
    assert clip.shape == (1, 4, 4, 3) and (clip[..., 0] == 200).all()


def test_pictures_that_cannot_be_read_or_differ_are_rejected():
    steps = Steps([0], [np.array([0, 1])])
    one, other = jpeg(np.zeros((8, 8, 3), np.uint8)), jpeg(np.zeros((8, 9, 3), np.uint8))
    assert "frame 1 of the record is no picture" in str(
        decode_steps([one, [one[0][:30]]], steps, None, None, None)
    )
    assert "differ in size" in str(decode_steps([one, other], steps, None, None, None))


def test_positions_of_three_by_three_regions():
    positions = grid_positions(2, 3, 3).reshape(-1, 5)
    np.testing.assert_allclose(positions[0], [0, 0, 1 / 3, 0, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(positions[8], [0, 2 / 3, 1, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(positions[10], [1, 1 / 3, 2 / 3, 0, 1 / 3], rtol=1e-6)
