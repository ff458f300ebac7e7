"""The page about a video is HTML, with the words, colours, codes and maps that it should have."""

import dataclasses
import html.parser
import re
import subprocess
import sys

import numpy as np

from tests.trainers.tasks.r3 import role_parts
from trainers.evaluation.writing import text_pages
from trainers.tasks.r3 import appearance
from trainers.tasks.r3.role_marks import region_map
from trainers.tasks.r3.role_page import role_page

NAMES = {role_parts.CROSS: {5: ["turn", "<b>"], 9: ["never"]}}
VOID = {"meta", "img", "br"}


class Outline(html.parser.HTMLParser):
    """Checks that all elements close, and keeps texts, and attributes by element."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.elements = [], [], []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def tokens_of(page):
    """(text, code, colour, title) of every coloured token that is one of a text."""
    pattern = r'class="token" style="background:(#\w+)" title="([^"]*)">(.*?)<sub>(\d+)</sub>'
    return [
        (word, int(code), color, title) for color, title, word, code in re.findall(pattern, page)
    ]


def test_a_page_of_one_text():
    page = role_page("film <0>", [role_parts.made_text()], NAMES)
    outline = Outline(page)
    words = " ".join(outline.texts)
    for expected in ("film <0>", "film 0, clip 0", "a left turn", "a <right> turn", "turn, <b>"):
        assert expected in words
    assert "text to video, decoder block 0" in words and "never" not in words
    assert not re.search(r'(src|href)="|https?:', page)
    first = tokens_of(page)[:4]
    assert [(word, code) for word, code, *_ in first] == [
        ("a", 2),
        ("left", 5),
        ("turn", 5),
        ("(end)", 5),
    ]
    assert all(color == appearance.hex_color(code) for _, code, color, _ in first)
    assert first[0][3] == "code 2; looks at step 0, row 1, column 2 100%"
    assert first[1][3].startswith(
        "code 5 (turn, &lt;b&gt;); looks at step 1, row 1, column 2 75%; "
    )
    # Attention to the text says which token was looked at: the one before.
    last = tokens_of(page)[-1]
    assert last[:2] == ("(end)", 1) and last[3] == "code 1; looks at turn 100%"
    opened = [attrs for tag, attrs in outline.elements if tag == "details"]
    assert len(opened) == 2 and "open" in opened[0] and "open" not in opened[1]
    maps = [attrs["aria-label"] for tag, attrs in outline.elements if tag == "svg"]
    assert maps == ["step 0: 100%", "step 1: 0%", "step 0: 0%", "step 1: 100%"]


def test_maps_are_dark_where_nothing_is_looked_at():
    found = region_map(np.array([[0.0, 0.5], [1.0, 0.25]]), 1.0, "step 3", "f0-3")
    veils = re.findall(r'x="(\d)" y="(\d)" width="1" height="1" opacity="([\d.]+)"', found)
    assert [(x, y) for x, y, _ in veils] == [("0", "0"), ("1", "0"), ("1", "1")]
    np.testing.assert_allclose([float(one[2]) for one in veils], [0.8, 0.4, 0.6], atol=0.006)
    assert 'aria-label="step 3: 175%"' in found
    assert 'viewBox="0 0 2 2"' in found and 'class="map f0-3"' in found


def test_segments_are_a_paragraph_with_frames():
    frames = tuple(text_pages.encoded(np.full([24, 48, 3], shade, np.uint8)) for shade in (50, 200))
    texts = [role_parts.made_text("one", frames), role_parts.made_text("two", frames[:1])]
    page = role_page("film", texts, NAMES)
    Outline(page)
    paragraph = page[page.index('class="paragraph"') : page.index("<section>")]
    assert [word for word, *_ in tokens_of(paragraph)] == ["a", "left", "turn", "(end)"] * 2
    assert page.index("<h2>one") < page.index("<h2>two")
    # Every frame is there once, as wide as it is, by itself and behind all maps of its step.
    assert page.count("data:image/jpeg;base64,") == 3
    assert page.count("width: 128px") == 3
    assert page.count('class="map f0-1"') == 3 and page.count('class="map f1-1"') == 0


def test_pieces_of_a_word_stand_together():
    text = role_parts.made_text()
    split = dataclasses.replace(text, pieces=(" le", "ft", " turn", ""))
    page = role_page("film", [split])
    assert "left" in re.sub(r"<sub>\d+</sub>|<[^>]*>", "", page)


def test_pages_are_made_without_tensorflow():
    loaded = "import sys, trainers.tasks.r3.role_page; print('tensorflow' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
