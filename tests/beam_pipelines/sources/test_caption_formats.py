"""Any list of cues, written in any format, comes back; a damaged cue costs itself."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.rejects import Reject
from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions.caption_file import CaptionFile, read_captions
from beam_pipelines.sources.captions.languages import language_of_suffix
from beam_pipelines.sources.captions.rolling import Cue, captions_of
from tests.beam_pipelines.sources.caption_writers import FORMATS, clock, srt

# Marks that formats give a meaning stand beside letters of several scripts and digits.
TEXTS = (
    st.text("adZ 09.,:'\"!?<>&[]()é猫яö", min_size=1, max_size=12)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)


@st.composite
def cue_lists(draw) -> list[tuple[int, int, str]]:
    """Cues in order, with more than a tenth of a second between them, so that none rolls."""
    cues, now = [], 0
    for text in draw(st.lists(TEXTS, min_size=2, max_size=6)):
        start = now + draw(st.integers(110, 2_000_000))
        now = start + draw(st.integers(10, 100_000))
        cues.append((start, now, text))
    return cues


def read(folder, extension: str, content: bytes, **options) -> CaptionFile:
    path = folder / f"a{extension}"
    path.write_bytes(content)
    found = read_captions(str(path), **options)
    assert isinstance(found, CaptionFile), found
    return found


def triples(found: CaptionFile) -> list[tuple[int, int, str]]:
    return [
        (round(c["start_seconds"] * 1000), round(c["end_seconds"] * 1000), c["text"])
        for c in found.content["captions"]
    ]


def count(found: CaptionFile, code: NoteCode) -> int:
    return sum(note.count for note in found.notes if note.code == code)


@pytest.mark.parametrize("name", FORMATS)
def test_cues_come_back_and_a_damaged_one_is_counted(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("captions")
    extension, write = FORMATS[name]

    @settings(max_examples=25, deadline=None)
    @given(
        cue_lists(),
        st.randoms(use_true_random=False),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.booleans(),
    )
    def check(cues, random, line_end, has_mark):
        def content(damaged):
            text = write(cues, damaged)
            ended = text.replace("\n", line_end) if extension != ".csv" else text
            return (codecs.BOM_UTF8 if has_mark else b"") + ended.encode()

        whole = read(folder, extension, content(None))
        assert triples(whole) == cues
        assert count(whole, NoteCode.CUE_LEFT_OUT) == 0
        damaged = random.randrange(len(cues))
        if "lost" in name and not damaged:
            damaged = 1  # text above the first times is no cue's
        rest = read(folder, extension, content(damaged))
        assert triples(rest) == cues[:damaged] + cues[damaged + 1 :]
        assert count(rest, NoteCode.CUE_LEFT_OUT) == 1

    check()


def test_what_is_no_markup_stays_and_what_is_removed_is_counted(tmp_path):
    text = (
        "1\n00:00:00 --> 00:00:01,5\n{\\an8}<i>if a < b and c > d</i> AT&T &amp; <laughs>\n\n"
        '2\n1:00 --> 1:02.25\n<font color="red">one<br>two</font>\n\n3\n1:03 --> 1:04\n \n'
    )
    found = read(tmp_path, ".srt", text.encode())
    assert triples(found) == [
        (0, 1500, "if a < b and c > d AT&T & <laughs>"),
        (60_000, 62_250, "one two"),
    ]
    assert count(found, NoteCode.MARKUP_REMOVED) == 5
    assert count(found, NoteCode.CUE_EMPTY) == 1
    drawing = "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,a\\Nb{\\p1}m 0 0{\\p0} c, d\n"
    assert triples(read(tmp_path, ".ass", drawing.encode())) == [(1000, 2000, "a b c, d")]


def test_words_of_a_recogniser_are_timed_captions_of_their_own_style(tmp_path):
    text = (
        '{"segments": [{"start": 0.5, "end": 1.5, "text": " a dog", "words": ['
        '{"word": " a", "start": 0.5, "end": 0.7, "probability": 0.9},'
        '{"word": " dog", "start": 0.7, "end": null}]}], "language": "english", "similarity": NaN}'
    )
    found = read(tmp_path, ".json", text.encode())
    assert [(c["text"], c.get("style")) for c in found.content["captions"]] == [
        ("a dog", None),
        ("a", "word"),
        ("dog", "word"),
    ]
    assert {c["language"] for c in found.content["captions"]} == {"en"}
    assert found.content["captions"][2]["end_seconds"] == 0.7
    assert found.content["metadata"] == {"language": "english", "similarity": None}
    left = [note.detail for note in found.notes if note.code == NoteCode.FIELD_LEFT_OUT]
    assert left == ["of captions: probability x 1"]


def test_a_strangers_fields_are_metadata_and_never_cost_the_item(tmp_path):
    text = (
        '{"caption": " a  dog ", "split": "training", "labels": ["dog"], "url": "x", '
        f'"formats": "{"x" * 10_001}", "captions": [{{"text": 3}}, {{"text": "b", "speaker": 1}}]}}'
    )
    found = read(tmp_path, ".json", text.encode())
    assert [c["text"] for c in found.content["captions"]] == ["b", "a dog"]
    assert found.content["metadata"] == {"split": "training", "labels": ["dog"], "url": "x"}
    assert "split" not in found.content and "labels" not in found.content
    assert count(found, NoteCode.FIELD_TO_METADATA) == 3
    assert count(found, NoteCode.FIELD_LEFT_OUT) == 2  # `formats`, and a caption's `speaker`
    assert count(found, NoteCode.CUE_LEFT_OUT) == 1


SENTENCES = ["hello there we", "cook some rice", "No.", "and then eat it"]


def _rolled_up() -> list[Cue]:
    pairs = zip([""] + SENTENCES, SENTENCES, strict=False)
    return [Cue(n, n + 1, tuple(filter(None, pair))) for n, pair in enumerate(pairs)]


def _flashing() -> list[Cue]:
    cues: list[Cue] = []
    for cue in _rolled_up():
        cues += [cue, Cue(cue.end_seconds - 0.01, cue.end_seconds, cue.lines[-1:])]
    return cues


def _growing() -> list[Cue]:
    cues = []
    for n, sentence in enumerate(SENTENCES):
        words = sentence.split()
        grown = [" ".join(words[: k + 1]) for k in range(len(words))]
        width = 1 / len(grown)
        cues += [Cue(n + k * width, n + (k + 1) * width, (t,)) for k, t in enumerate(grown)]
    return cues


@pytest.mark.parametrize("cues", [_rolled_up(), _flashing(), _growing()])
def test_rolling_captions_say_everything_once(cues):
    captions, repeated = captions_of(cues)
    assert [caption["text"] for caption in captions] == SENTENCES
    assert [round(caption["start_seconds"]) for caption in captions] == [0, 1, 2, 3]
    assert all(0.9 < c["end_seconds"] - c["start_seconds"] < 1.1 for c in captions)
    assert repeated > 0


@pytest.mark.parametrize(
    "texts",
    [
        ["No.", "No.", "Yes.", "No.", "So?"],
        ["No.", "No. Never.", "Why?", "Why? Why?", "Because.", "I see.", "Fine.", "Bye."],
    ],
)
def test_people_who_say_the_same_again_are_left_alone(texts):
    cues = [Cue(n, n + 1, (text,)) for n, text in enumerate(texts)]
    captions, repeated = captions_of(cues)
    assert [caption["text"] for caption in captions] == texts
    assert repeated == 0


@pytest.mark.parametrize(
    ("suffix", "language"),
    [
        *(("en", "en"), ("pt-BR", "pt-BR"), ("zh-Hans", "zh-Hans"), ("es-419", "es-419")),
        *(("deu", "de"), ("en_US", "en-US"), ("en-orig", "en"), ("de-en", "de"), ("EN", "en")),
        *(("en.forced", "en"), ("auto.fr", "fr"), ("hi", "hi"), ("sdh", ""), ("notes", None)),
        *(("en.old", None), ("v2", None), ("English", "en"), ("live_chat", None)),
    ],
)
def test_languages_in_file_names(suffix, language):
    assert language_of_suffix(suffix) == language


def test_damaged_bytes_and_long_texts_cost_one_cue(tmp_path):
    cues = [
        (n * 1000, n * 1000 + 500, text) for n, text in enumerate(["der Bär", "öffnet", "für süße"])
    ]
    content = srt(cues).encode().replace("öff".encode(), b"\xc3ff")
    found = read(tmp_path, ".srt", content)
    assert [text for *_, text in triples(found)] == ["der Bär", "für süße"]
    assert count(found, NoteCode.CUE_LEFT_OUT) == 1
    found = read(tmp_path, ".srt", srt([*cues, (9000, 9500, "x" * 10_001)]).encode())
    assert triples(found) == cues
    assert count(found, NoteCode.CUE_LEFT_OUT) == 1
    path = tmp_path / "a.txt"
    path.write_text("y" * 10_001)
    assert isinstance(read_captions(str(path)), Reject)
    assert clock(3_600_000) == "01:00:00,000"
