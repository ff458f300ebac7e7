import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mm_models.errors import UserError
from mm_models.metrics.captioning import caption_scores
from trainers.evaluation.pictures import panels
from trainers.evaluation.writing import text_pages
from trainers.evaluation.writing.text_baselines import (
    constant_caption,
    corrupted_captions,
    usual_answers,
)
from trainers.evaluation.writing.text_scores import TextScorer
from trainers.evaluation.writing.word_groups import WordGroups
from trainers.evaluation.writing.written_texts import GeneratedText

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZIFFERN = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
COLOURS = ["red", "blue", "green"]


def caption(number, language):
    if language == "de":
        return f"eine {['rote', 'blaue', 'grüne'][number % 3]} {ZIFFERN[number % 10]} bewegt sich"
    return f"the {COLOURS[number % 3]} {DIGITS[number % 10]} is moving now"


def captioned(count, text=caption, languages=("en", "de"), **fields):
    return [
        GeneratedText(
            key=f"{number}#0",
            page=f"{number}.mp4",
            prompt=f"caption in {language}",
            text=text(number, language),
            references=(caption(number, language),),
            language=language,
            **fields,
        )
        for number in range(count)
        for language in languages
    ]


def answered(rows):
    return [
        GeneratedText(str(n), f"{n}.mp4", "?", text, references, "en", kind)
        for n, (kind, text, references) in enumerate(rows)
    ]


def test_captions_are_scored_in_each_language_and_then_averaged():
    wrong_german = captioned(
        30, text=lambda n, language: caption(n + (language == "de" and n % 2), language)
    )
    scores = TextScorer(["cider", "bleu", "rouge_l"])(wrong_german)
    flat = scores.flat()
    german = [example for example in wrong_german if example.language == "de"]
    alone = caption_scores(
        [example.text for example in german], [example.references for example in german]
    )
    assert flat["language_en/cider"] == pytest.approx(10.0)
    assert flat["language_de/cider"] == pytest.approx(alone.table["cider"].value)
    assert flat["cider"] == pytest.approx((10.0 + flat["language_de/cider"]) / 2)
    assert flat["language_de/num_examples"] == 30 and flat["num_examples"] == 60
    error = alone.table["cider"].standard_error
    assert scores.groups[""]["model"]["cider"].standard_error == pytest.approx(error / 2)
    assert scores.per_example["cider"][0] == pytest.approx(10.0)
    assert len(scores.per_example["bleu_4"]) == 60


def test_baselines_stand_beside_the_score():
    swap = {"en": DIGITS, "de": ZIFFERN}
    flat = TextScorer(["cider"], swap_words=swap)(captioned(40)).flat()
    assert flat["cider"] == pytest.approx(10.0)
    assert 0 < flat["cider_constant"] < 3 and 0 < flat["cider_corrupted"] < 3
    assert flat["swap_words_right"] == 1.0 and flat["swap_words_right_corrupted"] == 0.0
    assert flat["swap_words_right_constant"] == pytest.approx(0.1)
    for writer in ("constant", "corrupted"):
        of_languages = [flat[f"language_{language}/cider_{writer}"] for language in ("en", "de")]
        assert flat[f"cider_{writer}"] == pytest.approx(np.mean(of_languages))


def test_the_constant_caption_is_the_best_of_those_tried():
    references = [["a", "b", "c", str(n)] for n in range(20)] + [["x", "y", "z", "w"]]
    best = constant_caption([[words] for words in references], "rouge_l")
    assert best[:3] == ["a", "b", "c"]


def test_corrupted_captions_have_one_wrong_word_of_those_given():
    examples = captioned(20)
    corrupted = corrupted_captions(examples, {"en": DIGITS}, seed=3)
    for example, wrong in zip(examples, corrupted, strict=True):
        pairs = list(zip(example.references[0].split(), wrong.split(), strict=True))
        changed = [(old, new) for old, new in pairs if old != new]
        assert len(changed) == 1
        if example.language == "en":
            assert set(changed[0]) <= set(DIGITS)
    assert corrupted == corrupted_captions(examples, {"en": DIGITS}, seed=3)
    assert corrupted != corrupted_captions(examples, {"en": DIGITS}, seed=4)
    plain = captioned(1, languages=("en",))
    assert corrupted_captions(plain, {"en": ["cat", "dog"]}, seed=0) == [caption(0, "en")]


def test_a_corrupted_caption_without_spaces_has_one_wrong_character():
    texts = ["人が立っている。", "犬が走っている。"]
    examples = [
        GeneratedText(f"{n}", f"{n}", "", "", (text,), "ja", "", 0.0)
        for n, text in enumerate(texts)
    ]
    for text, wrong in zip(texts, corrupted_captions(examples, {}, seed=3), strict=True):
        changed = [(old, new) for old, new in zip(text, wrong, strict=True) if old != new]
        assert len(changed) == 1 and "。" not in changed[0]


def test_languages_other_than_the_one_asked_for_are_counted():
    swapped = captioned(20, text=lambda n, language: caption(n, "en" if n % 4 == 0 else language))
    flat = TextScorer(["rouge_l"])(swapped).flat()
    assert flat["language_en/language_share"] == 1.0
    assert flat["language_de/language_share"] == pytest.approx(0.75)
    assert flat["language_share"] == pytest.approx(0.875)
    assert flat["language_tied"] == 0.0


def test_answers_are_scored_by_kind_beside_the_usual_answer():
    rows = [("colour", "red", ("red",)), ("colour", "blue", ("red",)), ("count", "two", ("two",))]
    rows += [
        ("colour", "blue", ("blue",)),
        ("count", "two", ("three",)),
        ("count", "x", ("three",)),
    ]
    scores = TextScorer(["exact_match", "vqa_accuracy"])(answered(rows))
    flat = scores.flat()
    assert flat["exact_match"] == pytest.approx(0.5)
    assert flat["kind_colour/exact_match"] == pytest.approx(2 / 3)
    assert flat["kind_colour/exact_match_usual"] == pytest.approx(2 / 3)
    assert flat["kind_count/vqa_accuracy"] == pytest.approx(1 / 3)
    assert flat["kind_count/vqa_accuracy_usual"] == pytest.approx(2 / 3)
    assert flat["kind_count/num_examples"] == 3
    assert scores.groups["kind_colour"]["model"]["exact_match"].standard_error > 0
    assert usual_answers(answered(rows))[2] == "three"
    assert not any(name.startswith("language_") for name in flat)


def test_pages_of_several_captions_are_scored_as_pages_too():
    examples = [
        GeneratedText(f"v{page}#{part}", f"v{page}.mp4", "", text, (text,), "en")
        for page, part, text in [
            (0, 0, "a b c d e"),
            (0, 1, "a b c d f"),
            (0, 2, "g h i j k"),
            (1, 0, "l m n o p"),
        ]
    ]
    flat = TextScorer(["cider", "bleu"])(examples).flat()
    each = TextScorer(["cider"])(examples).per_example["cider"]
    assert flat["cider_by_page"] == pytest.approx((each[:3].mean() + each[3]) / 2)
    assert flat["repetition_4"] == pytest.approx((1 / 6 + 0) / 2)
    assert flat["bleu_4_by_page"] == pytest.approx(1.0)
    apart = [dataclasses.replace(example, language=example.key) for example in examples]
    assert "cider_by_page" not in TextScorer(["cider"])(apart).flat()


def test_the_macro_level_is_the_mean_over_pages_of_what_is_inside():
    rows = [("v", "a b", "a b"), ("v", "c x", "c d"), ("w", "e y", "e f")]
    examples = [
        GeneratedText(f"{n}", page, "", text, (right,), "en")
        for n, (page, text, right) in enumerate(rows)
    ]
    flat = TextScorer(["bleu", "rouge_l"])(examples).flat()
    # Words right: 2 and 1 of 2 in one page, 1 of 2 in the other.
    assert flat["bleu_1"] == pytest.approx(4 / 6)
    assert flat["bleu_1_by_page"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert flat["rouge_l"] == pytest.approx(2 / 3)
    assert flat["rouge_l_by_page"] == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_paragraph_has_the_sentences_of_its_page_in_order():
    def clip(key, place, text, *references, page="v", **fields):
        fields = {"language": "en"} | fields
        return GeneratedText(key, page, "", text, references, place=place, **fields)

    examples = [
        clip("b", (1, 0), "then b. ", "second one", "second two"),
        clip("a", (0, 9_000_000), "first a.", "first one", "first two", "first three"),
        clip("c", (1, 5_000_000), "last c", "third one", "third two"),
        clip("d", (0, 0), "alone", "by itself", page="w"),
        clip("e", (0, 0), "anders", "anderes", language="de"),
    ]
    scores = TextScorer(["rouge_l"])(examples)
    english, other, german = scores.paragraphs
    assert english.key == ("v", "en", "") and english.clips == ("a", "b", "c")
    assert english.text == "first a. then b. last c"
    assert english.reference_texts == [
        "first one second one third one",
        "first two second two third two",
    ]
    assert (other.key.page, german.key.language) == ("w", "de")
    # By language, then the mean: one of six words of one paragraph, none of the other; none.
    right = 2.44 * (1 / 6) ** 2 / (1 / 6 + 1.44 / 6)
    assert scores.per_paragraph["rouge_l_paragraph"] == pytest.approx([right, 0.0, 0.0])
    assert scores.flat()["rouge_l_paragraph"] == pytest.approx(right / 4)


SLOTS = {"command": ["bin", "lay"], "digit": DIGITS}


def test_words_of_a_group_are_right_in_their_order():
    rows = [
        ("Bin blue at F two now.", "bin red at f two again", "slots"),
        ("bin blue two three", "bin blue three two", "slots"),
        ("lay two", "bin two", "slots"),
        ("red", "green", "plain"),
    ]
    examples = [
        GeneratedText(f"{n}", "v", "", text, (right,), "en", kind)
        for n, (text, right, kind) in enumerate(rows)
    ]
    scores = TextScorer(["exact_match"], word_groups=WordGroups(SLOTS))(examples)
    flat = scores.flat()
    assert scores.per_example["word_groups_command"].tolist() == [1, 1, 0, 1]
    assert scores.per_example["word_groups_digit"].tolist() == [1, 0, 1, 1]
    assert scores.per_example["word_groups"].tolist() == [1, 0.5, 0.5, 1]
    assert flat["word_groups"] == flat["word_groups_digit"] == 0.75
    # `bin` is right in all three sentences of the grammar, `two` in two of them.
    assert flat["word_groups_command_usual"] == 1.0
    assert flat["kind_slots/word_groups_digit_usual"] == pytest.approx(2 / 3)
    assert flat["kind_slots/word_groups_digit"] == pytest.approx(2 / 3)
    assert flat["kind_plain/word_groups_usual"] == 1.0
    several = dataclasses.replace(examples[2], references=("bin two", "lay two", "lay nine"))
    each = TextScorer(["exact_match"], word_groups=WordGroups(SLOTS))([several]).per_example
    assert each["word_groups"].tolist() == [1.0]
    assert not any(name.startswith("word_groups") for name in TextScorer(["cider"]).names())


def test_unknown_metrics_are_refused():
    for metrics in ([], ["cider", "spice"]):
        with pytest.raises(UserError, match="metrics"):
            TextScorer(metrics)


def test_files_hold_every_example_and_the_page_its_worst_and_best():
    picture = text_pages.encoded(np.full((8, 8, 3), 200, np.uint8))
    examples = captioned(
        6,
        text=lambda n, language: caption(n if n != 3 else n + 1, language) + " <b>",
        languages=("en",),
        picture=picture,
        kind="k",
        log_probability=-1.23456,
    )
    scores = TextScorer(["cider", "rouge_l"])(examples)
    lines = [
        json.loads(line)
        for line in text_pages.json_lines(examples, scores.per_example, step=7).splitlines()
    ]
    assert len(lines) == 6 and lines[3]["step"] == 7
    assert lines[3]["scores"]["cider"] == pytest.approx(scores.per_example["cider"][3], abs=1e-6)
    assert lines[3]["references"] == [caption(3, "en")]
    assert lines[3]["log_probability"] == -1.2346
    page = text_pages.html_page("captions", examples, scores, num_pictures=2)
    assert page.count("<img") == 4 and "<b>" not in page and "&lt;b&gt;" in page
    worst = page[page.index("<h2>worst") : page.index("<h2>best")]
    assert re.search(r"dt>3#0 en", worst)
    table = json.loads(text_pages.table_json(scores, step=7))
    first = table["scores"][0]
    assert (first["group"], first["metric"], first["of"]) == ("all", "cider", "model")
    assert first["count"] == 6 and first["standard_error"] > 0
    shown = text_pages.example_panels(examples, scores, num_pictures=2)
    kinds = [(type(panel), panel.tag) for panel in shown]
    image, text = panels.ImagePanel, panels.TextPanel
    assert kinds == [
        (text, "scores"),
        (text, "worst"),
        (image, "worst"),
        (text, "best"),
        (image, "best"),
    ]
    assert "constant" in shown[0].markdown and "caption in en" in shown[1].markdown


def test_a_clip_is_one_picture():
    frames = np.zeros((3, 10, 20, 3), np.uint8)
    frames[1] = 255
    with Image.open(io.BytesIO(text_pages.jpeg(frames))) as picture:
        assert picture.height == 10 and picture.width == 3 * 20 + 2 * 4


@pytest.mark.parametrize(("count", "expected"), [(2, {"worst": [1, 2], "best": [0, 3]}), (3, 4)])
def test_no_example_is_both_worst_and_best(count, expected):
    found = text_pages.extremes({"cider": np.array([3.0, 0.0, 1.0, 2.0])}, count)
    if isinstance(expected, dict):
        assert found == expected
    else:
        assert sorted(found["worst"] + found["best"]) == [0, 1, 2, 3]
