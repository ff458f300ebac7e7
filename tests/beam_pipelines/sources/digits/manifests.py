"""Clips of the digits corpus as its manifest describes them, and the words of their texts."""

from beam_pipelines.sources.digits.clip import describe_clip, plan_clip
from beam_pipelines.sources.digits.config import make_config
from beam_pipelines.sources.digits.language.lexicon import DIGIT_WORDS


def items(count, preset="default", split="train", **overrides):
    config = make_config(preset, **overrides)
    return [describe_clip(config, split, i, plan_clip(config, split, i)) for i in range(count)]


def words(text):
    return text.replace("?", "").replace("'", " ").split()


def named(text, language="en"):
    """Digits that a text names, in order; number words before "digit(s)" do not count."""
    found = words(text)
    nouns = ("digits", "digit")
    return [
        DIGIT_WORDS[language].index(word)
        for place, word in enumerate(found)
        if word in DIGIT_WORDS[language]
        and found[place + 1 : place + 2] not in ([n] for n in nouns)
    ]
