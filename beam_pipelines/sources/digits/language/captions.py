"""Sentences about a clip in every language, with paraphrases, true and false."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.ground_truth import GroundTruth
from beam_pipelines.sources.digits.language.lexicon import DIGIT_WORDS, Description
from beam_pipelines.sources.digits.language.related import say_related
from beam_pipelines.sources.digits.language.sentences import num_paraphrases, say, say_picture
from beam_pipelines.sources.digits.language.statements import (
    Statement,
    digit_statement,
    falsify,
    full_statement,
    neighbour_statement,
)
from beam_pipelines.sources.digits.pictures.moments import Moment
from beam_pipelines.sources.digits.randomness import choose


@dataclasses.dataclass(frozen=True)
class Caption:
    """One sentence; `falsified` is (what, said, truth) of a wrong one, else None."""

    text: str
    language: str
    style: str
    relation: str
    moment: Moment
    falsified: tuple[str, str, str] | None = None

    def manifest_entry(self) -> dict:
        """The manifest's form."""
        return {
            "text": self.text,
            "language": self.language,
            "style": self.style,
            "relation": self.relation,
            "start_seconds": self.moment.start_seconds,
            "end_seconds": self.moment.end_seconds,
        }


def write_captions(
    random: np.random.Generator, noise: np.random.Generator, truth: GroundTruth
) -> list[Caption]:
    """All captions of a clip: moment by moment, each in every language, then the neighbours, then
    the canonical ones, then the related ones.

    Args:
        random: decides what is said, and how.
        noise: decides which sentences are false, apart from `random`, so that corpora that differ
            in their share of wrong captions agree in all the others.
        truth: the clip.
    """
    written = []
    for moment in truth.moments:
        for language in truth.config.languages:
            written += _moment_captions(random, noise, truth, moment, language)
    for language in truth.config.languages:
        for _ in range(truth.config.neighbour_captions):
            written.append(_neighbour_caption(random, truth, language))
    if truth.config.canonical_captions:
        written += _canonical_captions(truth)
    if truth.config.related_captions:
        for language in truth.config.languages:
            text = say_related(language, truth)
            written.append(Caption(text, language, "related", "moment", _whole(truth)))
    return written


def _moment_captions(
    random: np.random.Generator,
    noise: np.random.Generator,
    truth: GroundTruth,
    moment: Moment,
    language: str,
) -> list[Caption]:
    config: DigitsConfig = truth.config
    names_digit_only = float(random.uniform()) < config.digit_only_caption_share
    full = full_statement(random, truth, moment)
    if config.looks_caption_share and float(random.uniform()) < config.looks_caption_share:
        full = Statement("shown", full.subject)
    statement = digit_statement(truth, moment) if names_digit_only else full
    style = "digit" if names_digit_only else "full"
    order = random.permutation(num_paraphrases(language, statement))
    captions = []
    for paraphrase in order[: config.captions_per_moment]:
        is_wrong = float(noise.uniform()) < config.wrong_caption_share
        said, falsified = falsify(noise, truth, statement)
        text = say(language, said if is_wrong else statement, int(paraphrase))
        relation = "wrong" if is_wrong else "moment"
        captions.append(
            Caption(text, language, style, relation, moment, falsified if is_wrong else None)
        )
    return captions


def _neighbour_caption(random: np.random.Generator, truth: GroundTruth, language: str) -> Caption:
    moment = choose(random, truth.moments)
    statement: Statement = neighbour_statement(random, truth, moment)
    paraphrase = int(random.integers(num_paraphrases(language, statement)))
    style = "scene" if statement.subject is None else "full"
    return Caption(say(language, statement, paraphrase), language, style, "neighbour", moment)


def _canonical_captions(truth: GroundTruth) -> list[Caption]:
    """In each language, one sentence for the whole clip, and the numerals in reading order."""
    shown = sorted(truth.objects, key=lambda each: each.digit)
    descriptions = [Description(each.digit, each.color) for each in shown]
    numerals = " ".join(str(truth.objects[place].digit) for place in truth.left_to_right or ())
    whole = _whole(truth)
    written = []
    for language in truth.config.languages:
        text = say_picture(language, descriptions)
        written.append(Caption(text, language, "canonical", "moment", whole))
        if numerals:
            written.append(Caption(numerals, language, "ocr", "moment", whole))
    return written


def _whole(truth: GroundTruth) -> Moment:
    return Moment(truth.objects[0].object_id, 0.0, truth.config.clip_seconds)


def wrong_caption_notes(captions: list[Caption]) -> list[dict]:
    """For the manifest's metadata: which captions are false, in what, and what would be true."""
    return [
        {"caption": place, "changed": what, "said": _word(said), "truth": _word(true)}
        for place, (what, said, true) in (
            (place, caption.falsified)
            for place, caption in enumerate(captions)
            if caption.falsified
        )
    ]


def _word(value: str) -> str:
    return DIGIT_WORDS["en"][int(value)] if value.isdigit() else value
