import glob
import io
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.trainers.evaluation.planted import (
    InputsAreEmbeddings,
    as_video,
    captions_of,
    inputs,
    unit_vectors,
)
from trainers.evaluation.pictures import drawing, matrices, panels
from trainers.evaluation.pictures.batch_panels import batch_panels
from trainers.tasks.vatt.evaluators.conflict_panels import conflict_panels, triplet

ROOT = pathlib.Path(__file__).parents[3] / "trainers"


def written(folder):
    """Tag to summary value of every event file in `folder`."""
    values = {}
    for path in glob.glob(f"{folder}/events*"):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            values |= {value.tag: value for value in event.summary.value}
    return values


def picture_of(value):
    encoded = tf.make_ndarray(value.tensor)[2]
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_panels_can_be_read_back(tmp_path):
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    waveform = np.sin(np.arange(800) / 10).astype(np.float32)
    shown = [
        panels.ImagePanel("picture", image),
        panels.SoundPanel("sound", waveform, 8000, "a tone"),
        panels.TextPanel("words", "| a |"),
        panels.HistogramPanel("numbers", np.array([1.0, 1.0, 3.0])),
    ]
    writer = tf.summary.create_file_writer(str(tmp_path))
    panels.write_panels(shown, writer, step=3, prefix="clips/")
    writer.close()
    values = written(tmp_path)
    np.testing.assert_array_equal(picture_of(values["clips/picture"]), image)
    encoded = tf.make_ndarray(values["clips/sound"].tensor)[0][0]
    samples, rate = tf.audio.decode_wav(encoded)
    assert int(rate) == 8000
    np.testing.assert_allclose(samples[:, 0], waveform, atol=1e-4)
    assert tf.make_ndarray(values["clips/words"].tensor)[()] == b"| a |"
    assert tf.make_ndarray(values["clips/numbers"].tensor)[:, 2].sum() == 3


def test_a_strip_shows_the_frames_in_order():
    frames = np.stack([np.full((8, 8, 3), value, np.float32) for value in (-1, 0, 1)])
    strip = drawing.clip_strip(frames, height_pixels=16)
    assert strip.shape == (16, 3 * 16 + 2 * drawing.MARGIN_PIXELS, 3)
    assert [int(strip[8, x, 0]) for x in (8, 28, 48)] == [0, 128, 255]
    thinned = drawing.clip_strip(np.repeat(frames, 10, axis=0), max_frames=4, height_pixels=16)
    assert thinned.shape[1] == 4 * 16 + 3 * drawing.MARGIN_PIXELS


def test_long_captions_are_wrapped_under_the_picture():
    picture = np.zeros((10, 200, 3), np.uint8)
    short = drawing.under(picture, ["drei"])
    long = drawing.under(picture, ["eine rote Drei gleitet langsam über die dunkle Fläche " * 3])
    assert short.shape[1] == long.shape[1] == 200
    assert long.shape[0] > short.shape[0] + 50
    assert (short[10:] < 128).any()  # ink


def test_accents_are_drawn_as_letters():
    blank = np.zeros((2, 200, 3), np.uint8)
    pictures = {text: drawing.under(blank, [text]).tobytes() for text in ("ü", "ñ", "é", "u")}
    assert len(set(pictures.values())) == 4


def test_a_spectrogram_shows_the_pitch():
    rate = 8000
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    picture = drawing.spectrogram_image(tone, rate, height_pixels=100)
    brightest = picture[:100].astype(int).sum(axis=(1, 2)).argmax()
    assert abs(brightest - 75) <= 2  # 1 kHz of 4 kHz, counted from the bottom


def found(picture, part):
    """Whether a picture holds another one, pixel for pixel."""
    height, width = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width), axis=(0, 1))
    return (windows == part.transpose(2, 0, 1)).all(axis=(2, 3, 4)).any()


def test_a_matrix_has_its_cells_names_titles_and_scale():
    values = np.array([[0.0, 0.5, np.nan], [1.0, 0.25, 2.0]])
    rows, columns = matrices.Axis("true", ["a", "b"]), matrices.Axis("guess", ["x", "y", "z"])

    def draw(rows=rows, columns=columns, values=values, meaning="share", high=1.0):
        return matrices.matrix_image(values, rows, columns, meaning=meaning, low=0.0, high=high)

    picture = draw()
    size = matrices.cell_pixels(values.shape)
    cells = matrices.matrix_cells(values, size, low=0.0, high=1.0)
    assert size == 32 and cells.shape == (64, 96, 3) and found(picture, cells)
    colors = drawing.colorize(np.array([[0.0, 0.5, 0.0], [1.0, 0.25, 1.0]]))
    np.testing.assert_array_equal(cells[::size, ::size], colors)
    # Everything that says what is shown is drawn.
    others = [
        draw(rows=matrices.Axis("wahr", rows.names)),
        draw(rows=matrices.Axis("true", ["a", "c"])),
        draw(columns=matrices.Axis("Wahl", columns.names)),
        draw(columns=matrices.Axis("guess", ["x", "y", "w"])),
        draw(columns=matrices.Axis("guess")),
        draw(meaning="cosine"),
        draw(values=2 * values, high=2.0),
    ]
    assert len({other.tobytes() for other in [picture, *others]}) == 8
    # The scale has all colours in their order.
    ramp = drawing.colorize(np.linspace(0.0, 1.0, 120)[None])
    assert found(picture, ramp)


def test_a_matrix_of_many_has_no_names_over_each_other():
    names = [f"class number {number} of many" for number in range(400)]
    axis = matrices.Axis("class", names)
    picture = matrices.matrix_image(np.eye(400), axis, axis, meaning="share", low=0.0, high=1.0)
    assert picture.shape[0] < 1100 and picture.shape[1] < 1100
    left = picture[-900:-100, 20:150].min(axis=(1, 2)) < 128  # lines with ink
    assert 0.2 < left.mean() < 0.7


def test_right_and_wrong_are_told_by_mark_and_color_and_explained():
    blank = np.zeros((4, 400, 3), np.uint8)
    right, wrong = (drawing.judged(blank, ["three"], is_right=one) for one in (True, False))
    for picture, color in ((right, drawing.RIGHT), (wrong, drawing.WRONG)):
        assert (picture[4:] == color).all(axis=2).any()
    # Not by the colour alone.
    assert not np.array_equal(right[4:, :16].min(axis=2) < 200, wrong[4:, :16].min(axis=2) < 200)
    legend = drawing.judgement_legend("of its class", "of another")
    for color in (drawing.RIGHT, drawing.WRONG):
        assert (legend == color).all(axis=2).any()


def test_no_picture_of_right_and_wrong_goes_unexplained():
    """Whoever judges also explains, and a matrix is drawn in one place alone."""
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name != "drawing.py":
            assert "drawing.RIGHT" not in text and "drawing.WRONG" not in text, path
            assert ("judged(" in text) == ("judgement_legend(" in text), path
        if path.name not in ("drawing.py", "matrices.py"):
            assert "colorize(" not in text, path


def test_a_batch_shows_clips_sounds_captions_and_matrices(plant):
    vectors = unit_vectors(6)
    sounds = 0.1 * unit_vectors(6, seed=2)
    ones = tf.ones(6)
    batch = {
        "video": tf.constant(as_video(vectors)),
        "audio": tf.constant(sounds),
        "text": tf.constant(captions_of(range(6))),
        "video_mask": ones,
        "audio_mask": tf.constant([1.0, 0, 1, 1, 1, 1]),
        "text_mask": ones,
        "example_id": tf.range(6, dtype=tf.int64),
    }
    shown = batch_panels(InputsAreEmbeddings(unit_vectors(10)), batch, inputs())
    by_tag = {panel.tag: panel for panel in shown}
    assert set(by_tag) == {
        "clips",
        "spectrograms",
        "sound/0",  # example 1 has no sound
        "captions",
        "similarities/video_vt_text_vt",
        "similarities/video_va_audio_va",
    }
    np.testing.assert_array_equal(by_tag["sound/0"].waveform, sounds[0])
    assert by_tag["captions"].markdown.count("\n") == 7
    assert "caption of clip 5" in by_tag["captions"].markdown


def test_the_most_and_the_least_conflicting_triplets_are_shown(plant):
    vectors = unit_vectors(6)
    batch = {
        "video": tf.constant(as_video(vectors)),
        "audio": tf.constant(0.1 * unit_vectors(6, seed=2)),
        "example_id": tf.range(6, dtype=tf.int64),
    }
    cosines = np.array([0.5, -0.9, 0.1, 0.2, -1.0, 0.9], np.float32)
    valid = np.array([1, 1, 1, 1, 0, 1], bool)
    shown = conflict_panels(cosines, valid, batch, inputs())
    histogram, most, least = shown
    assert [panel.tag for panel in shown] == [
        "harmonization/cosine",
        "harmonization/most_conflicting",
        "harmonization/least_conflicting",
    ]
    np.testing.assert_array_equal(histogram.values, cosines[valid])
    ends = [triplet(row, float(cosines[row]), batch, inputs()) for row in (1, 5)]
    for panel, first in zip((most, least), ends, strict=True):
        height, width = first.shape[:2]
        np.testing.assert_array_equal(panel.image[:height, :width], first)
    assert conflict_panels(cosines, np.zeros(6, bool), batch, inputs()) == []
