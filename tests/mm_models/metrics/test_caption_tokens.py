import pytest

from mm_models.metrics.caption_tokens import caption_tokens
from mm_models.metrics.language_words import LanguageWords


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog's ball; don't go!", "a dog 's ball do n't go"),
        ("we'd, they'll, I'm, you've, they're", "we 'd they 'll i 'm you 've they 're"),
        ("It cannot... can't", "it can not ca n't"),
        ("a black-and-white T-shirt -- 1/2 off", "a black-and-white t-shirt 1/2 off"),
        ("at 5:30, 10,000 (big) U.S. flags", "at 5:30 10,000 big u.s. flags"),
        ("Mr. Smith's \u201ccurly\u201d don\u2019t", "mr. smith 's curly do n't"),
        ("two women,three men. $5 & 50%", "two women three men $ 5 & 50 %"),
        ("dogs' tails, the 'single' o'clock", "dogs tails the single o'clock"),
        ("l'homme \u00ab est \u00bb l\u00e0\u00a0!", "l'homme est l\u00e0"),
        ("\u00bfqu\u00e9? \u00a1s\u00ed!", "qu\u00e9 s\u00ed"),
        ("\u4e24\u53ea\u732b\u3002A\u5ea7", "\u4e24 \u53ea \u732b a \u5ea7"),
        ("\u30b3\u30fc\u30d2\u30fc\u30013\u676f", "\u30b3 \u30fc \u30d2 \u30fc 3 \u676f"),
        (
            "\u0e17\u0e35\u0e48\u0e19\u0e31\u0e48\u0e07",
            "\u0e17\u0e35\u0e48 \u0e19\u0e31\u0e48 \u0e07",
        ),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902\u0964",
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902",
        ),
        ("\ub450 \ub9c8\ub9ac\uc758 \uac1c.", "\ub450 \ub9c8\ub9ac\uc758 \uac1c"),
        ("caf\u0065\u0301 \uff21\uff22", "caf\u00e9 ab"),
        (" . ! ", ""),
    ],
)
def test_captions_are_cut_as_the_treebank_cuts_them(caption, expected):
    assert " ".join(caption_tokens(caption)) == expected


def test_captions_belong_to_the_language_that_holds_most_of_their_words():
    known = LanguageWords(
        {
            "en": ["a red six moves", "a blue two moves", "a red six stays"],
            "fr": ["un six rouge bouge", "un deux bleu bouge"],
            "de": ["eine rote Sechs"],
        }
    )
    assert known.nearest("a red two") == ["en"]
    assert known.nearest("un SIX bleu.") == ["fr"]
    # Both languages have the word; it is twice in six words' references of one, once in the other.
    assert known.nearest("six") == ["en"]
    assert known.nearest("seven") == []
    assert LanguageWords({"a": ["x"], "b": ["x"]}).nearest("x") == ["a", "b"]
