"""Which language a caption is in, by the words that captions of each language use."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mm_models.metrics.caption_tokens import caption_tokens


class LanguageWords:
    """Tells languages apart by the words of reference captions.

    A caption belongs to the language whose references hold the largest share of its words. Among
    languages that hold equally many, a word speaks for each by how frequent it is there, with one
    more occurrence of every known word assumed. Words that no reference holds say nothing.
    """

    def __init__(self, captions: Mapping[str, Sequence[str]]):
        """Takes reference captions by language."""
        self._counts = {
            language: Counter(word for caption in own for word in caption_tokens(caption))
            for language, own in captions.items()
        }
        self._known = len(set().union(*self._counts.values()))

    def nearest(self, caption: str) -> list[str]:
        """The languages that fit best: usually one, several that fit the same, or, where no
        reference holds any of the words, none."""
        words = caption_tokens(caption)
        fits = {language: self._fit(words, counts) for language, counts in self._counts.items()}
        best = max(fits.values(), default=(0, 0.0))
        if not best[0]:
            return []
        return [language for language, fit in fits.items() if fit == best]

    def _fit(self, words: Sequence[str], counts: Counter) -> tuple[int, float]:
        held = sum(word in counts for word in words)
        total = counts.total() + self._known
        likelihood = sum(math.log((counts[word] + 1) / total) for word in words)
        return held, round(likelihood, 9)
