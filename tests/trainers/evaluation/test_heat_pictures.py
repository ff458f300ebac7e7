"""Pictures under heat maps: what is hot is red, boxes and points lie where they should."""

import numpy as np

from mm_models.signal.picture_overlays import with_point
from trainers.evaluation.pictures import drawing
from trainers.evaluation.pictures.heat_pictures import heat_picture


def test_a_picture_stands_beside_itself_under_its_heat():
    grey = np.zeros((8, 16, 3), np.float32)
    heat = np.array([[0.0, 0.0], [0.0, 2.0]])
    shown = heat_picture(grey, heat, height_pixels=40)
    assert shown.shape == (40, 80 + drawing.MARGIN_PIXELS + 80, 3)
    plain, heated = shown[:, :80], shown[:, 80 + drawing.MARGIN_PIXELS :]
    assert (plain == 128).all()
    # The hottest corner is redder than the picture, the opposite one as it is.
    assert heated[-1, -1, 0] > 200 and heated[-1, -1, 1] < 60 and (heated[0, 0] == 128).all()
    # A map without heat leaves the picture alone.
    nothing = heat_picture(grey, np.zeros((2, 2)), height_pixels=40)
    assert (nothing[:, 84:] == 128).all()


def test_boxes_are_drawn_on_both_and_the_point_under_the_heat():
    grey = np.full((20, 20, 3), 128, np.uint8)
    bare = heat_picture(grey, np.zeros((2, 2)), height_pixels=40)
    box = np.array([[0.5, 0.25, 0.75, 0.75]])
    marked = heat_picture(
        grey, np.zeros((2, 2)), boxes_yxyx_norm=box, point=(0.25, 0.5), height_pixels=40
    )
    changed = (marked != bare).any(axis=-1)
    left, right = changed[:, :40], changed[:, 44:]
    # The frame of 20 x 10 pixels, from row 20 and column 10 on.
    assert left[20, 10:30].all() and not left[:19].any() and not left[:, :9].any()
    assert right[20, 10:30].all() and right[10, 20] and not left[10, 20]


def test_a_point_is_centred_where_it_is_said():
    picture = np.zeros((50, 100, 3), np.uint8)
    rows, columns = np.nonzero(with_point(picture, (0.5, 0.25)).any(axis=-1))
    assert abs(rows.mean() - 25) < 1 and abs(columns.mean() - 25) < 1
