"""How the codes of a dictionary of relations are used, and what they tell of the tokens."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.layers.roles.role_outputs import RoleTrace
from mm_models.r3 import information
from mm_models.r3.relations import head_codes, looked_at
from trainers.evaluation.writing.word_groups import MEAN, score_name
from trainers.tasks.r3.role_losses import is_rare

TOKEN = "token"


@dataclasses.dataclass(frozen=True)
class CodeUsage:
    """What became of one dictionary over many texts.

    Attributes:
        counts: float64[codes] how often each code was taken, by any head.
        information: bits that a head's code tells of its token, by what of the token is asked;
            empty where no texts are read.
        shuffled: the same after tokens and roles were parted, a mean over shuffles.
        words: of each code, words that it prefers and by how many bits, most first.
        looked_at: float64[codes, keys] means, where that was counted; zeros for codes not taken.
    """

    counts: np.ndarray
    information: Mapping[str, float]
    shuffled: Mapping[str, float]
    words: Mapping[int, Sequence[tuple[str, float]]]
    looked_at: np.ndarray | None

    def measures(self) -> dict[str, float]:
        """`perplexity`, shares of `dead_codes` and of `rare_codes`, and where texts are read
        `information` and `shuffled_information`, of tokens and by what else is asked."""
        found = {
            "perplexity": information.perplexity(self.counts),
            "dead_codes": float(np.mean(self.counts == 0)),
            "rare_codes": float(np.mean(is_rare(self.counts / max(self.counts.sum(), 1.0)))),
        }
        for prefix, table in (("", self.information), ("shuffled_", self.shuffled)):
            for what, bits in table.items():
                found[f"{prefix}{information_name(what)}"] = bits
        return found

    @property
    def names(self) -> dict[int, list[str]]:
        """The words that each code prefers."""
        return {code: [word for word, _ in pairs] for code, pairs in self.words.items()}


def information_name(what: str) -> str:
    """What information about something is called among scores."""
    return "information" if what == TOKEN else f"information_{what}"


class CodeCounter:
    """Counts one dictionary batch by batch.

    Args:
        num_codes: of the dictionary.
        of_text: keep the codes of all tokens, for what they tell of a text.
        with_maps: also add up what each code looks at.
    """

    def __init__(self, num_codes: int, *, of_text: bool, with_maps: bool):
        self._counts = np.zeros(num_codes)
        self._looked_at: np.ndarray | None = None
        self._of_text = of_text
        self._with_maps = with_maps
        self._codes: list[np.ndarray] = []

    def add(self, trace: RoleTrace, counted: np.ndarray) -> None:
        """Takes a batch: its trace, and bool[batch, queries] of the tokens that count."""
        num_codes = len(self._counts)
        # [tokens, heads] and [tokens, heads, keys]
        ids, scores, weights = (np.moveaxis(np.asarray(one), 1, 2)[counted] for one in trace)
        taken = (weights > 0) if ids.ndim == weights.ndim else np.ones(ids.shape)
        self._counts += np.bincount(ids.ravel(), taken.ravel(), num_codes)
        if self._of_text:
            of_heads = head_codes(*(np.moveaxis(one, 0, 1) for one in (ids, scores, weights)))
            self._codes.append(of_heads.T.astype(np.int32))
        if self._with_maps:
            sums = looked_at(ids, weights, num_codes)
            self._looked_at = sums if self._looked_at is None else self._looked_at + sums

    def usage(
        self, labels: Mapping[str, np.ndarray], words: Sequence[str], *, shuffles: int, seed: int
    ) -> CodeUsage:
        """What was counted; labels and words matter to codes of a text alone.

        Args:
            labels: int64[tokens] by what of the tokens is asked, -1 where a token does not count.
            words: of the tokens, empty for what is no word.
            shuffles: how many times tokens and roles are parted.
            seed: of the shuffles.
        """
        labels = labels if self._of_text else {}
        codes = np.concatenate(self._codes or [np.zeros([0, 1], np.int32)])
        orders = np.random.default_rng(seed)
        return CodeUsage(
            counts=self._counts,
            information={what: bits(codes, one) for what, one in labels.items()},
            shuffled={
                what: float(np.mean([bits(codes, shuffled(one, orders)) for _ in range(shuffles)]))
                for what, one in labels.items()
            },
            words=preferred_words(codes, words, len(self._counts)) if self._of_text else {},
            looked_at=self._means(),
        )

    def _means(self) -> np.ndarray | None:
        """float64[codes, keys]: what one head of one token looks at adds up to 1."""
        if self._looked_at is None:
            return None
        return self._looked_at / np.maximum(self._looked_at.sum(axis=1, keepdims=True), 1e-12)


def bits(codes: np.ndarray, labels: np.ndarray) -> float:
    """Mutual information between a head's code and the label of its token.

    Args:
        codes: int[tokens, heads].
        labels: int[tokens], -1 where a token does not count.
    """
    kept = labels >= 0
    if not kept.any():
        return 0.0
    return information.mutual_information(_pairs(codes[kept], labels[kept]))


def shuffled(labels: np.ndarray, orders: np.random.Generator) -> np.ndarray:
    """The labels of the tokens that count, in another order among them."""
    mixed = labels.copy()
    mixed[labels >= 0] = orders.permutation(labels[labels >= 0])
    return mixed


def token_labels(
    ids: np.ndarray, words: Sequence[str], groups: Mapping[str, frozenset[str]]
) -> dict[str, np.ndarray]:
    """What may be asked of tokens: which one it is (`token`), of which group of words
    (`word_groups`, none being one of them), and which of the words of a group where it is one
    (`word_groups_<group>`).

    Args:
        ids: int[tokens].
        words: of the tokens.
        groups: words by the group's name.

    Returns:
        int64[tokens] by what is asked, -1 where a token does not count.
    """
    found = {TOKEN: np.unique(ids, return_inverse=True)[1]}
    of_word: dict[str, int] = {}
    for number, (name, own) in enumerate(groups.items()):
        places = {word: place for place, word in enumerate(sorted(own))}
        found[score_name(name)] = np.array([places.get(word, -1) for word in words], np.int64)
        of_word = dict.fromkeys(own, number) | of_word
    if groups:
        found[MEAN] = np.array([of_word.get(word, len(groups)) for word in words], np.int64)
    return found


def preferred_words(
    codes: np.ndarray, words: Sequence[str], num_codes: int, *, count: int = 3, least: int = 3
) -> dict[int, list[tuple[str, float]]]:
    """Words that stand where a code is taken more often than elsewhere, by code.

    Args:
        codes: int[tokens, heads].
        words: of the tokens, empty for what is no word.
        num_codes: of the dictionary.
        count: most words of a code.
        least: times that a word must have taken a code to name it, over all heads: what is rare
            prefers codes by chance.

    Returns:
        Words and how many bits likelier each is with the code, most first.
    """
    real = np.array([bool(word) for word in words], bool)
    known, labels = np.unique(np.array(words, object)[real].astype(str), return_inverse=True)
    if not len(known):
        return {}
    pairs = _pairs(codes[real], labels, num_codes)
    preference = np.where(pairs >= least, information.pointwise_information(pairs), 0.0)
    order = np.argsort(-preference, axis=1, kind="stable")[:, :count]
    return {
        code: [(str(known[word]), float(preference[code, word])) for word in best]
        for code in range(num_codes)
        if len(best := [word for word in order[code] if preference[code, word] > 0])
    }


def _pairs(codes: np.ndarray, labels: np.ndarray, num_codes: int | None = None) -> np.ndarray:
    """float64[codes, labels]: how often a head took a code where a label stood."""
    shape = (num_codes or int(codes.max()) + 1, int(labels.max()) + 1)
    return information.pair_counts(codes.ravel(), labels.repeat(codes.shape[1]), shape)
