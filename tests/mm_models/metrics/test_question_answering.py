import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_models.errors import UserError
from mm_models.metrics.answer_words import plain_answer
from mm_models.metrics.question_answering import (
    anls,
    answer_scores,
    edit_distance,
    exact_match,
    most_frequent_answer,
    simple_vqa_accuracy,
    vqa_accuracy,
)
from mm_models.metrics.scores import average_of, macro_score, mean_by_group, mean_score

some = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(("matches", "expected"), enumerate([0.0, 0.3, 0.6, 0.9, 1.0, 1.0]))
def test_soft_accuracy_by_matches_of_ten(matches, expected):
    answers = ["red"] * matches + [f"other {n}" for n in range(10 - matches)]
    assert vqa_accuracy("red", answers) == pytest.approx(expected)
    assert simple_vqa_accuracy("red", answers) == pytest.approx(min(matches / 3, 1))


@some
@given(st.lists(st.sampled_from(["x", "y", "z"]), min_size=2, max_size=12))
def test_soft_accuracy_is_the_mean_over_leaving_one_out(answers):
    without = [answers[:i] + answers[i + 1 :] for i in range(len(answers))]
    expected = np.mean([min(others.count("x") / 3, 1) for others in without])
    assert vqa_accuracy("x", answers) == pytest.approx(expected)


def test_spelling_counts_only_where_all_people_agree():
    assert vqa_accuracy("The Two dogs.", ["2 dogs"] * 9 + ["two dogs"]) == pytest.approx(1.0)
    assert vqa_accuracy("two", ["2"] * 10) == 0.0
    assert vqa_accuracy("2\n", ["2"] * 10) == pytest.approx(1.0)
    assert vqa_accuracy("yes", ["yes"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A Red, round  table", "red round table"),
        ("t-shirt/jeans", "t shirt jeans"),
        ("well - known", "well known"),
        ("10,000 - dollars!", "10000 dollars"),
        ("3.5 km. away.", "3.5 km away"),
        ("none of the TEN", "0 of 10"),
        ("couldnt've dont", "couldn't've don't"),
        ("rock\n'n roll", "rock 'n roll"),
        ("the", ""),
    ],
)
def test_answers_are_brought_to_one_spelling(answer, expected):
    assert plain_answer(answer) == expected


@some
@given(st.text(alphabet="aAthe .,-/1'\n", max_size=12))
def test_spelling_is_lower_case_without_outer_spaces_or_articles(answer):
    plain = plain_answer(answer)
    assert plain == plain.lower().strip()
    assert not {"a", "the"} & set(plain.split(" "))


def test_anls_by_hand():
    assert anls("coca cola", ["Coca  Cola"]) == 1.0
    assert anls("kitten", ["sitting", "mitten"]) == pytest.approx(1 - 1 / 6)
    # Half of the letters wrong is too much.
    assert anls("abcd", ["abxy"]) == 0.0
    assert anls("abcde", ["abcxy"]) == pytest.approx(0.6)
    assert anls("", [""]) == 1.0


@some
@given(st.text("ab ", max_size=6), st.text("ab ", max_size=6))
def test_edit_distance(first, second):
    @functools.cache
    def plain(i, j):
        if not i or not j:
            return i + j
        replaced = plain(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(replaced, plain(i - 1, j) + 1, plain(i, j - 1) + 1)

    assert edit_distance(first, second) == plain(len(first), len(second))
    assert 0.0 <= anls(first, [second]) <= 1.0


def test_exact_match_takes_any_reference_whatever_its_case():
    assert exact_match(" To the  LEFT ", ["right", "to the left"]) == 1.0
    assert exact_match("to the left.", ["to the left"]) == 0.0


def test_scores_of_many_answers():
    references = [["a", "b"], ["c"]]
    assert answer_scores(["B", "d"], references, "exact_match").tolist() == [1.0, 0.0]
    with pytest.raises(UserError, match="bleu"):
        answer_scores(["b"], [["b"]], "bleu")
    with pytest.raises(UserError, match="reference"):
        answer_scores(["b"], [[]], "anls")
    assert most_frequent_answer([["no"], ["yes", "no"], ["yes"]]) == "no"
    assert most_frequent_answer([]) == ""


def test_means_have_standard_errors_by_group_and_by_page():
    assert mean_score([1.0, 0.0, 1.0, 0.0]) == pytest.approx((0.5, np.sqrt(1 / 3) / 2, 4))
    assert np.isnan(mean_score([]).value)
    groups = mean_by_group([1.0, 0.0, 0.5], ["colour", "count", "colour"])
    assert list(groups) == ["colour", "count"]
    assert groups["colour"] == pytest.approx((0.75, 0.25, 2))
    assert groups["count"] == (0.0, 0.0, 1)
    # A page of one caption counts as much as one of three.
    assert macro_score([1.0, 0.0, 0.0, 0.0], ["v", "w", "w", "w"]) == pytest.approx((0.5, 0.5, 2))
    assert average_of([groups["colour"], groups["count"]]) == pytest.approx((0.375, 0.125, 3))
