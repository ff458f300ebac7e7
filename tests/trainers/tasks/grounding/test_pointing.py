"""The evaluator of pointing, on pictures whose every number can be worked out by hand."""

import csv
import fnmatch

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.mm_models.text.dummy_word_encoder import write_encoder
from tests.trainers.data.phrase_records import ABSENT, Phrase, phrase_input, write_scenes
from tests.trainers.evaluation.test_panels import written
from tests.trainers.tasks.grounding.color_model import ColorModel, cell, painted
from trainers.evaluation.context import EvaluationContext
from trainers.tasks.grounding.evaluators.pointing import PointingConfig, PointingEvaluator

RED, GREEN, BLUE = range(3)
# A red corner and four green cells; a phrase of nothing that is seen, and one without a box.
CORNERS = painted(
    [[(cell(0, 0), RED, 255), (cell(2, 2, 2), GREEN, 255)]],
    {1: [cell(0, 0)], 2: [cell(2, 2, 2)], 3: [ABSENT], 4: [ABSENT]},
    {1: "square", 2: "circle", 3: "notvisual", 4: "scene"},
    [Phrase("red", 1), Phrase("the green", 2), Phrase("blue", 3), Phrase("sky", 4)],
)
SMALL_BOX = (0.25, 0.5, 0.375, 0.625)
SMALL = painted([[(cell(1, 2), BLUE, 255)]], {1: [SMALL_BOX]}, {1: "circle"}, [Phrase("blue", 1)])
# Two red cells, of which the right one is brighter.
TWO_REDS = painted(
    [[(cell(0, 3), RED, 255), (cell(3, 0), RED, 102)]],
    {1: [cell(0, 3)], 2: [cell(3, 0)]},
    {1: "square", 2: "square"},
    [Phrase("red left", 2), Phrase("red right", 1)],
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "1")


@pytest.fixture(scope="module")
def model(encoder):
    return ColorModel(encoder)


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("stills"), [CORNERS, SMALL, TWO_REDS])


def _evaluator(folder, encoder, **fields) -> PointingEvaluator:
    inputs = {"phrases": {"each": True}, "batch_size": 3} | fields.pop("input", {})
    config = PointingConfig("pointing", input=phrase_input(folder, encoder, **inputs), **fields)
    return PointingEvaluator("points", config, None)


def test_every_number_by_hand(stills, encoder, model, tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path / "events"))
    evaluator = _evaluator(stills, encoder, shared_words=["red", "green"], num_pictures=4)
    evaluator.check_model(model)
    context = EvaluationContext(step=5, model_dir=str(tmp_path), summary_writer=writer)
    scores = evaluator.evaluate(model, context)
    # All of it: seven phrases, of which two have no place.
    counts = {"phrases": 7, "evaluated": 5, "skipped_no_box": 1, "skipped_category": 1}
    counts |= {"evaluated_large": 4, "evaluated_shared": 2, "cropped": 0, "presence_unpaired": 0}
    assert {name: scores.pop(name) for name in counts} == counts
    # Red to the left is looked for where the brighter red is.
    assert scores.pop("pointing") == scores.pop("sentence_pointing") == 4 / 5
    # The small blue box is none of the large ones, and only the reds share a word.
    assert scores.pop("pointing_large") == 3 / 4 and scores.pop("pointing_shared") == 1 / 2
    # The centre is a corner of the green box.
    assert scores.pop("center_pointing") == 1 / 5
    assert scores.pop("center_pointing_large") == 1 / 4
    assert scores.pop("center_pointing_shared") == 0
    points = [1 / 16, 4 / 16, 1 / 64, 1 / 16, 1 / 16]
    assert scores.pop("random_point_pointing") == pytest.approx(np.mean(points))
    assert scores.pop("random_point_pointing_large") == pytest.approx(
        np.mean(points) * 5 / 4 - 1 / 256
    )
    assert scores.pop("random_point_pointing_shared") == pytest.approx(1 / 16)
    assert scores.pop("random_object_pointing") == pytest.approx((4 * 0.5 + 1) / 5)
    assert scores.pop("random_object_pointing_large") == 0.5
    assert scores.pop("random_object_pointing_shared") == 0.5
    # One cell enlarged is 4 across, of which its own pixels have 3.5 at a border; four cells are 8,
    # with 7.5 inside. The small box has 1.5 of 4. The reds have 16 and 0.4 times that.
    inside = [3.5**2 / 16, 7.5**2 / 64, 1.5**2 / 16, 0.4 * 3.5**2 / 22.4, 3.5**2 / 22.4]
    assert scores.pop("attention_correctness") == pytest.approx(np.mean(inside), abs=1e-6)
    # 5 x 5 pixels around 4 x 4 and 9 x 9 around 8 x 8 are good; both reds are proposed at once.
    assert scores.pop("iou_accuracy") == 2 / 5
    assert (scores.pop("level_warm"), scores.pop("level_cold")) == (4 / 5, 1 / 5)
    # Present: 1, 1/2, 1, 1/2, 1/2; absent: 0, 0, 0, and twice 1/2 in the first picture's red.
    assert scores.pop("presence_auc") == pytest.approx(22 / 25)
    assert not scores
    rows = list(csv.DictReader((tmp_path / "eval" / "points-categories.csv").open()))
    assert [(row["category"], row["evaluated"], row["pointing"]) for row in rows] == [
        ("square", "3", "0.666667"),
        ("circle", "2", "1.000000"),
    ]
    assert rows[1]["pointing_large"] == "1.000000" and rows[1]["level_cold"] == "0.500000"
    shown = written(tmp_path / "events")
    assert {"points/categories", "points/phrases"} <= set(shown)


def test_names_and_chance_are_known_before(stills, encoder, model):
    evaluator = _evaluator(stills, encoder, max_examples=2)
    scores = evaluator.evaluate(model, EvaluationContext(jit_compile=False))
    assert scores["phrases"] == scores["evaluated"] == 2
    assert scores["pointing"] == 1 and "pointing_shared" not in scores
    names = evaluator.metric_names()
    assert all(any(fnmatch.fnmatch(name, one) for one in names) for name in scores)
    assert evaluator.chance() == {"presence_auc": 0.5}
    # Behind the second phrase there is no further picture.
    assert scores["presence_unpaired"] == 2 and "presence_auc" not in scores


def test_the_filter_of_sizes_and_the_categories_are_those_configured(stills, encoder, model):
    fields = {"large_share": 0.01, "skipped_categories": ["square"]}
    scores = _evaluator(stills, encoder, **fields).evaluate(model, EvaluationContext())
    assert scores["skipped_category"] == 3 and scores["skipped_no_box"] == 2
    assert scores["evaluated"] == scores["evaluated_large"] == 2 == scores["phrases"] - 5


def test_phrases_are_found_in_frames(tmp_path, encoder, model):
    there = cell(1, 1)
    red, green, blue = ((there, channel, 255) for channel in range(3))
    # Red in the second and third of five frames; green where it is not said to be; blue always.
    clip = painted(
        [[green, blue], [red, blue], [red, blue], [blue], [blue]],
        {
            1: [ABSENT, there, there, ABSENT, ABSENT],
            2: [ABSENT, ABSENT, ABSENT, there, ABSENT],
            3: [there] * 5,
        },
        {1: "r", 2: "g", 3: "b"},
        [Phrase("red", 1), Phrase("green", 2), Phrase("blue", 3)],
    )
    folder = write_scenes(tmp_path, [clip])
    inputs = {"video": {"num_frames": 5}}
    scores = _evaluator(folder, encoder, input=inputs).evaluate(model, EvaluationContext())
    assert scores["evaluated_temporal"] == 2 and scores["temporal_hit"] == 1 / 2
    assert scores["random_frame_temporal_hit"] == pytest.approx((2 + 1) / 5 / 2)
    # A frame that does not show the phrase is wrong.
    assert scores["pointing"] == pytest.approx(2 / 3)
    few = _evaluator(folder, encoder, input=inputs, max_visible_share=0.2)
    scores = few.evaluate(model, EvaluationContext())
    assert scores["evaluated_temporal"] == 1 and scores["temporal_hit"] == 0
    # Of a random frame: the share of frames, times what is covered there.
    covered = np.mean([2, 1, 5]) / 5 / 16
    assert scores["random_point_pointing"] == pytest.approx(covered)


def test_words_inside_sentences_and_those_cut_off(tmp_path, encoder, model):
    sentence = "one red and one blue"
    scene = painted(
        [[(cell(0, 0), RED, 255), (cell(3, 3), BLUE, 255)]],
        {1: [cell(0, 0)], 2: [cell(3, 3)]},
        {1: "square", 2: "square"},
        [Phrase("one red", 1, sentence, 0), Phrase("one blue", 2, sentence, 3)],
    )
    evaluator = _evaluator(write_scenes(tmp_path, [scene]), encoder)
    scores = evaluator.evaluate(model, EvaluationContext())
    # Of four words that are read the last is `one`; without `blue` nothing is found.
    assert scores["cropped"] == 1 and scores["pointing"] == 0.5
    inputs = {"phrases": {"each": True, "num_words": 5}}
    whole = _evaluator(write_scenes(tmp_path, [scene]), encoder, input=inputs)
    scores = whole.evaluate(model, EvaluationContext())
    # The sentence is as much about red as about blue, and red comes first.
    assert scores["pointing"] == 1 and scores["sentence_pointing"] == 0.5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": {"phrases": {"source": "phrases"}}}, "phrases with each: true"),
        ({"large_share": 1.5}, "evaluators.points.large_share is 1.5"),
        ({"max_visible_share": -1.0}, "evaluators.points.max_visible_share is -1.0"),
    ],
)
def test_configs_that_cannot_work_are_refused(stills, encoder, fields, said):
    with pytest.raises(UserError, match=said):
        _evaluator(stills, encoder, **fields)


def test_a_split_without_boxes_is_refused(tmp_path, encoder, model):
    scene = painted([[]], {1: [ABSENT]}, {1: "scene"}, [Phrase("sky", 1)])
    evaluator = _evaluator(write_scenes(tmp_path, [scene]), encoder)
    with pytest.raises(UserError, match="no phrase that can be evaluated: {'no_box': 1}"):
        evaluator.evaluate(model, EvaluationContext())
