"""What needs no model: one caption for all, right captions with a wrong word, the usual answer."""

from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.metrics.caption_tokens import written_words
from mm_models.metrics.captioning import word_scores
from mm_models.metrics.question_answering import most_frequent_answer
from mm_models.metrics.scores import group_rows
from trainers.evaluation.writing.written_texts import GeneratedText

_CONSTANT_CANDIDATES = 32
_CONSTANT_EXAMPLES = 500


def constant_caption(references: Sequence[Sequence[Sequence[str]]], metric: str) -> Sequence[str]:
    """The one caption that scores highest when it is given for every example.

    Up to 32 different references, spread over the examples, are tried on up to 500 examples. So
    this knows the references, which makes it a strong caption to beat.

    Args:
        references: words of one or more captions for each example.
        metric: what it is judged by, such as `cider`.
    """
    firsts = list(dict.fromkeys(tuple(own[0]) for own in references))
    tried = [firsts[row] for row in _spread(len(firsts), _CONSTANT_CANDIDATES)]
    sample = [references[row] for row in _spread(len(references), _CONSTANT_EXAMPLES)]

    def mean(words):
        table = word_scores([words] * len(sample), sample, [metric], language="").table
        return list(table.values())[-1].value

    return list(max(tried, key=mean))


def corrupted_captions(
    examples: Sequence[GeneratedText], swap_words: Mapping[str, Sequence[str]], seed: int
) -> list[str]:
    """Each example's first reference with one word replaced.

    Where `swap_words` has words for the language, one of these that the caption holds is replaced
    with another of them, and a caption that holds none stays as it is; otherwise any word is
    replaced with any other word of that language's references.

    Args:
        examples: with references.
        swap_words: by language, such as the names of digits.
        seed: makes the draws repeatable.
    """
    known: dict[str, set[str]] = {}
    for example in examples:
        words = written_words(example.references[0])[0]
        known.setdefault(example.language, set()).update(_bare(word) for word in words)
    every = {language: sorted(words - {""}) for language, words in known.items()}
    corrupted = []
    for row, example in enumerate(examples):
        chosen = swap_words.get(example.language, ())
        draw = np.random.default_rng([seed, row])
        caption = example.references[0]
        corrupted.append(_with_a_wrong_word(caption, chosen or every[example.language], draw))
    return corrupted


def _with_a_wrong_word(caption: str, words: Sequence[str], draw: np.random.Generator) -> str:
    parts, between = written_words(caption)
    swappable = {word.lower() for word in words}
    places = [place for place, part in enumerate(parts) if _bare(part) in swappable]
    if not places:
        return caption
    place = places[draw.integers(len(places))]
    others = [word for word in words if word.lower() != _bare(parts[place])]
    if others:
        parts[place] = others[draw.integers(len(others))]
    return between.join(parts)


def usual_answers(examples: Sequence[GeneratedText]) -> list[str]:
    """For each example the answer given most often to questions of its kind and language.

    It is taken from the examples' own references, so no constant answer does much better.
    """
    answers = [""] * len(examples)
    groups = group_rows([(example.kind, example.language) for example in examples])
    for rows in groups.values():
        usual = most_frequent_answer([examples[row].references for row in rows])
        for row in rows:
            answers[row] = usual
    return answers


def _bare(word: str) -> str:
    return word.lower().strip(".,;:!?\"'()\u3001\u3002\uff0c\uff01\uff1f")


def _spread(count: int, most: int) -> np.ndarray:
    """Up to `most` rows of `count`, evenly apart."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(int))
