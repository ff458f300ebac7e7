"""Captions cut in two, and boxes as text."""

import collections

import pytest

from mm_models.errors import UserError
from mm_models.text.detections import DetectionFormat
from mm_models.text.split_caption import split_caption, units


def _pieces(text):
    """Two characters a piece."""
    return [text[place : place + 2] for place in range(0, len(text), 2)]


@pytest.mark.parametrize(
    ("text", "language"),
    [("a  red three\nmoves", "en"), ("图片显示 一个三", "zh"), ("un", "fr"), ("ภาพ", "th")],
)
def test_parts_make_the_caption_again_wherever_it_is_cut(text, language):
    plain = " ".join(text.split())
    parts = units(text, language, _pieces)
    assert "".join(parts) == plain
    places = collections.Counter()
    for draw in range(100):
        place, first, second = split_caption(text, language, draw / 100, _pieces)
        places[place] += 1
        assert second
        joined = f"{first} {second}" if f"{first} {second}" == plain else first + second
        assert joined == plain
    assert set(places) == set(range(len(parts)))
    assert split_caption(text, language, 0.0, _pieces) == (0, "", plain)


def test_languages_without_blanks_are_cut_between_pieces():
    assert units("a b", "zh-Hant", _pieces) == ["a ", "b"]
    assert units("图片显示", "ja", _pieces) == ["图片", "显示"]
    assert split_caption("one two three", "en", 0.5, _pieces) == (1, "one", "two three")


def test_boxes_are_written_and_read_back():
    form = DetectionFormat(bins=101)
    text = form.write([(0, 0.25, 0.5, 1), (0.1, 0.2, 0.3, 2)], ["three", "potted plant"])
    assert text == "0 25 50 100 three ; 10 20 30 100 potted plant"
    read = form.read(text + " ; nonsense ; 1 2 3 car")
    assert read == [((0, 0.25, 0.5, 1), "three"), ((0.1, 0.2, 0.3, 1), "potted plant")]
    other = DetectionFormat("{label}@{y0},{x0},{y1},{x1}", "|", 11)
    assert other.read(other.write([(0, 0.5, 1, 1)], ["a b"])) == [((0, 0.5, 1, 1), "a b")]
    for wrong, message in (
        (DetectionFormat("{y0} {label}"), "must have the slots"),
        (DetectionFormat(separator=" "), "visible mark"),
        (DetectionFormat(bins=1), "at least 2"),
    ):
        with pytest.raises(UserError, match=message):
            wrong.check("detection")
