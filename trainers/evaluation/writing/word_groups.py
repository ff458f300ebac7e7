"""Whether chosen words, such as names of colours, are those of the reference."""

from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.errors import UserError
from mm_models.metrics.caption_tokens import caption_tokens
from mm_models.metrics.scores import group_rows
from trainers.evaluation.writing.written_texts import GeneratedText

MEAN = "word_groups"
Said = tuple[str, ...]


class WordGroups:
    """Groups of words of which one or more stand in a text, such as the slots of a grammar."""

    def __init__(self, groups: Mapping[str, Sequence[str]], field: str = "word_groups"):
        """Takes words by the group's name.

        Raises UserError for a group without words, and for words that texts are not cut into.
        """
        self._words = {name: _checked(words, f"{field}.{name}") for name, words in groups.items()}

    @property
    def words(self) -> Mapping[str, frozenset[str]]:
        """The words of each group, as captions are cut into them."""
        return self._words

    def names(self) -> set[str]:
        """Names of the scores."""
        return {*map(score_name, self._words), MEAN} if self._words else set()

    def right(self, examples: Sequence[GeneratedText]) -> dict[str, np.ndarray]:
        """float64[examples] by score: whether the text has the words of a group that a reference
        has, in the same order, and the share of the groups in which it does."""
        return self._with_mean(
            {
                name: np.array([_said(e.text, words) in _right(e, words) for e in examples], float)
                for name, words in self._words.items()
            }
        )

    def usual(self, examples: Sequence[GeneratedText]) -> dict[str, np.ndarray]:
        """The same for the words that are right most often among texts of a kind and language: what
        is right without a look at the clip."""
        asked = group_rows([(example.kind, example.language) for example in examples])
        found = {}
        for name, words in self._words.items():
            right = [_right(example, words) for example in examples]
            found[name] = np.zeros(len(examples))
            for rows in asked.values():
                counts: dict[Said, int] = {}
                for row in rows:
                    for said in right[row]:
                        counts[said] = counts.get(said, 0) + 1
                usual = max(counts, key=lambda said: counts[said])
                found[name][rows] = [usual in right[row] for row in rows]
        return self._with_mean(found)

    def _with_mean(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not found:
            return {}
        named = {score_name(name): values for name, values in found.items()}
        return named | {MEAN: np.mean(list(found.values()), axis=0)}


def score_name(group: str) -> str:
    """What scores of a group are called."""
    return f"{MEAN}_{group}"


def _checked(words: Sequence[str], field: str) -> frozenset[str]:
    if not words:
        raise UserError(f"{field} is empty; name its words")
    cut = {word: caption_tokens(word) for word in words}
    for word, tokens in cut.items():
        if len(tokens) != 1:
            raise UserError(
                f"{field} has {word!r}, which texts are cut into {len(tokens)} words of; name "
                "single words"
            )
    return frozenset(tokens[0] for tokens in cut.values())


def _said(text: str, words: frozenset[str]) -> Said:
    return tuple(word for word in caption_tokens(text) if word in words)


def _right(example: GeneratedText, words: frozenset[str]) -> dict[Said, None]:
    """What of the words each reference has, without repeats, in order."""
    return dict.fromkeys(_said(reference, words) for reference in example.references)
