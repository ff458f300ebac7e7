"""Label prompts: how many there are, how gaps are filled, what is drawn."""

import pytest

from mm_models.errors import UserError
from mm_models.text import label_prompts


@pytest.mark.parametrize(
    ("kind", "own", "words"), [("image", 2, 14), ("video", 7, 19), ("audio", 4, 11)]
)
def test_numbers_are_the_papers(kind, own, words):
    train = label_prompts.TRAIN_TEMPLATES[kind]
    assert len(train) == len(set(train)) == 19 + own
    evaluation = label_prompts.evaluation_prompts(kind)
    assert len(evaluation) == len(set(evaluation)) == 16
    assert len(set(label_prompts.INSTANCE_WORDS[kind])) == words
    assert len(set(label_prompts.QUANTIFIERS)) == 8 and "" in label_prompts.QUANTIFIERS
    assert all(template.count("{}") == 1 for template in (*train, *evaluation))
    assert all(
        template.replace("{}", "").isascii() and "{" not in template.replace("{}", "")
        for template in evaluation
    )


def test_gaps_by_hand():
    fill = label_prompts.fill
    assert (
        fill("{instance} of {quantifier} {}", "red fox", "photo", "some") == "photo of some red fox"
    )
    assert fill("{instance} of {quantifier} {}", "red fox", "photo") == "photo of red fox"
    assert fill("this is {quantifier} {}", "{odd}", "photo", "a") == "this is a {odd}"


@pytest.mark.parametrize("kind", label_prompts.KINDS)
def test_training_captions_use_every_word_and_template_equally(kind):
    captions = label_prompts.train_prompts(kind, "xyz", fillings_per_template=24)
    assert captions == label_prompts.train_prompts(kind, "xyz", fillings_per_template=24)
    assert len(captions) == 24 * len(label_prompts.TRAIN_TEMPLATES[kind])
    assert all(caption.split().count("xyz") == 1 or "xyz," in caption for caption in captions)
    assert not any("{" in caption or "  " in caption for caption in captions)
    together = " ".join(captions)
    for word in (*label_prompts.INSTANCE_WORDS[kind], *label_prompts.QUANTIFIERS):
        assert word in together
    few = label_prompts.train_prompts(kind, "xyz", fillings_per_template=2)
    assert len(few) == len(captions) // 12
    # Another class has other fillings, so that words tell nothing about the class.
    other = label_prompts.train_prompts(kind, "uvw", fillings_per_template=2)
    assert [c.replace("uvw", "xyz") for c in other] != few


def test_mistakes_are_told():
    with pytest.raises(UserError, match="not for 'text'"):
        label_prompts.evaluation_prompts("text")
    with pytest.raises(UserError, match="fillings_per_template is 0"):
        label_prompts.train_prompts("image", "cat", 0)
