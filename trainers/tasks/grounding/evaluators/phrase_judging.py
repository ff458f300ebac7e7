"""Judges the phrases of batches, one after the other, and counts those that are skipped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainers.data.parts.phrases.catalog import DescribedRecord, PhraseCatalog
from trainers.data.parts.phrases.record_phrases import RecordPhrase
from trainers.tasks.grounding.evaluators.absent_phrases import AbsentPhrases, Picture, SoughtPhrase
from trainers.tasks.grounding.evaluators.judged_phrases import GroundedPhrase, JudgedPhrase, judge
from trainers.tasks.grounding.evaluators.pointing_panels import phrase_picture

NO_BOX, CATEGORY = "no_box", "category"


class PhraseRules(NamedTuple):
    """Which phrases are skipped, and which are of a subset.

    Attributes:
        skipped_categories: of objects whose phrases are not evaluated.
        shared_words: words that in a phrase of another object too make a phrase a shared one.
    """

    skipped_categories: Sequence[str]
    shared_words: Sequence[str]


class PhraseJudging:
    """What became of the phrases so far.

    Attributes:
        judged: phrases that are evaluated.
        skipped: how many were not, by reason.
        cropped: judged ones of whose words the encoder gave not all.
        absent: the judged phrases in pictures that they are not about.
        pictures: of the first judged ones: uint8[height, width, 3].
    """

    def __init__(
        self,
        catalog: PhraseCatalog,
        absent: AbsentPhrases,
        rules: PhraseRules,
        levels: Sequence[str],
        *,
        num_pictures: int,
    ):
        """Takes the phrases of the input, names of the model's levels, and how many to show."""
        self.judged: list[JudgedPhrase] = []
        self.skipped: Counter[str] = Counter()
        self.cropped = 0
        self.absent = absent
        self.pictures: list[np.ndarray] = []
        self._catalog = catalog
        self._rules = rules
        self._levels = levels
        self._num_pictures = num_pictures
        self._last = -1

    def add(self, batch: Mapping[str, tf.Tensor], found: Mapping[str, np.ndarray]) -> None:
        """Judges the phrases of a batch that follows the one before.

        Args:
            batch: of the input.
            found: what `ground` gives of it.
        """
        items, spans = batch["example_item"].numpy(), batch["phrase_span"].numpy()
        records = batch["example_id"].numpy().tolist()
        for row in np.flatnonzero(batch["example_mask"].numpy() > 0).tolist():
            described = self._catalog.record(records[row])
            if records[row] != self._last:
                self._last = records[row]
                texts = frozenset(phrase.text for phrase in described.phrases)
                # A copy, since a row would keep all others.
                regions = found["regions"][row].copy()
                self.absent.look_in(Picture(self._last, texts, regions))
            phrase = described.phrases[int(items[row])]
            if reason := self._reason_to_skip(described, phrase):
                self.skipped[reason] += 1
                continue
            self._judge(described, phrase, batch["video"][row], found, row, spans[row])

    def _judge(
        self,
        described: DescribedRecord,
        phrase: RecordPhrase,
        video: tf.Tensor,
        found: Mapping[str, np.ndarray],
        row: int,
        span: np.ndarray,
    ) -> None:
        sought = SoughtPhrase(phrase.text, self._last, found["words"][row], span)
        self.absent.add(sought)
        self.cropped += int(span.sum() < phrase.span[1])
        grounded = grounded_phrase(found, row, span)
        # Where the record does not say how large its pictures are, as they are read.
        stored = described.facts.size
        size = stored if all(stored) else (int(video.shape[1]), int(video.shape[2]))
        judged = judge(grounded, described, phrase, size, self._rules.shared_words)
        self.judged.append(judged)
        if len(self.pictures) < self._num_pictures:
            shown = video.numpy(), grounded, judged, described, phrase, self._levels
            self.pictures.append(phrase_picture(*shown))

    def _reason_to_skip(self, described: DescribedRecord, phrase: RecordPhrase) -> str:
        if set(phrase.categories) & set(self._rules.skipped_categories):
            return CATEGORY
        return "" if described.boxes(phrase).any() else NO_BOX


def grounded_phrase(found: Mapping[str, np.ndarray], row: int, span: np.ndarray) -> GroundedPhrase:
    """A row of what `ground` gives; `span: float32[words]` says which words are the phrase's."""
    own = np.flatnonzero(span > 0)
    heat, scores = found["heat"][row], found["scores"][row]
    return GroundedPhrase(heat[own], scores[own], found["levels"][row][own], heat[-1], scores[-1])
