"""Template files: what is read, how it is filled in, and what is refused."""

import pathlib

import pytest

from mm_models.errors import UserError
from mm_models.text.templates import load_templates, prompt

PALI = str(pathlib.Path(__file__).parents[3] / "configs" / "pali" / "templates.yaml")


def test_the_eight_tasks_of_pali():
    templates = load_templates(PALI)
    assert list(templates.tasks) == [
        *("span_corruption", "split_cap", "captioning", "ocr", "vqa", "vqg"),
        *("object_aware", "detection"),
    ]
    assert len(templates.languages) == 36
    corrupting = [task.name for task in templates.tasks.values() if task.corrupts]
    assert corrupting == ["span_corruption"]
    assert all(task.inputs_end for task in templates.tasks.values())
    assert templates.task("captioning").num_sentinels == 1
    assert prompt(templates, "captioning", "de") == "Generate the alt_text in DE at 0: <extra_id_0>"
    # A cut before the first word is plain captioning.
    assert prompt(templates, "split_cap", "de") == prompt(templates, "captioning", "de")
    question = "what colour is the three?"
    assert (
        prompt(templates, "vqa", "en", question=question)
        == f"Answer in EN: {question} <extra_id_0>"
    )
    with pytest.raises(UserError, match="needs a value for question"):
        prompt(templates, "vqa", "en")
    with pytest.raises(UserError, match="task 'retrieval' is not in"):
        templates.task("retrieval")
    with pytest.raises(UserError, match="language 'tlh' is not among"):
        templates.language_name("tlh")


def test_the_digits_templates_are_palis_but_for_their_bins():
    pali, digits = load_templates(PALI), load_templates(PALI.replace(".yaml", "_digits.yaml"))
    assert set(digits.languages.items()) <= set(pali.languages.items())
    for name, task in pali.tasks.items():
        assert digits.task(name).variants == task.variants
    assert (pali.task("detection").detection.bins, digits.task("detection").detection.bins) == (
        1000,
        64,
    )


_FILE = """
languages: {en: English}
words: {en: {"yes": "yes", "no": "no", none: none}}
tasks:
  one: {inputs: "in {lang} <extra_id_2>", targets: "{caption}", inputs_end: false}
  two:
    variants:
      a: {inputs: "{question}", targets: "{answer}", share: 3}
      b: {inputs: "{label}", targets: "{label}"}
"""


def _load(tmp_path, text):
    (tmp_path / "t.yaml").write_text(text)
    return load_templates(str(tmp_path / "t.yaml"))


def test_a_file_of_ones_own(tmp_path):
    templates = _load(tmp_path, _FILE)
    one, two = templates.task("one"), templates.task("two")
    assert not one.inputs_end and two.inputs_end
    assert one.num_sentinels == 3
    assert [(v.name, v.share) for v in two.variants] == [("a", 3.0), ("b", 1.0)]
    assert two.facts == {"question", "label"}
    assert prompt(templates, "one", "en") == "in English <extra_id_2>"
    assert templates.word("de", "none") == "none"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{caption}", "{title}", r"tasks.one has the slot {title}.*the slots are lang, caption"),
        ("{caption}", "a", "tasks.one says nothing of its example"),
        ("share: 3", "share: 0", r"variants.a.share is 0.0"),
        ('targets: "{answer}", ', "", "variants.a has no key 'targets'"),
        ("inputs_end: false", "end: false", "tasks.one has the unknown key 'end'"),
        ("words: {en:", "words: {de:", "words has no en"),
        ("tasks:", "task:", "unknown key 'task'"),
        ("languages: {en: English}", "languages: [en]", "languages must be a mapping"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        _load(tmp_path, _FILE.replace(old, new))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="templates .* cannot be read"):
        load_templates(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="cannot be read"):
        _load(tmp_path, "a: [")
