"""Scores of answers: VQA soft accuracy, exact match, ANLS."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from mm_models.errors import UserError
from mm_models.metrics.answer_words import plain_answer

ANLS_THRESHOLD = 0.5


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Soft accuracy: the mean over leaving one person out of min(matches among the others / 3, 1).

    With ten people, 0, 1, 2, 3 and 4 or more of whom gave the answer, that is 0, .3, .6, .9 and 1.
    Where people differ, all answers are brought to one spelling (`plain_answer`) first; where all
    agree, the answer must be theirs letter by letter.

    Args:
        answer: what the model says.
        references: an answer from each person. A single one is compared with by itself.

    Source: Antol et al., "VQA"; PaLI, section 4.2.
    """
    answer, references = _alike(answer, references)
    matches = sum(reference == answer for reference in references)
    count = len(references)
    if count == 1:
        return float(matches)
    leaving_a_match = min((matches - 1) / 3.0, 1.0) if matches else 0.0
    leaving_another = min(matches / 3.0, 1.0)
    return (matches * leaving_a_match + (count - matches) * leaving_another) / count


def simple_vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """min(matches / 3, 1), of answers brought to one spelling as for `vqa_accuracy`.

    Source: OKVQA in big_vision.
    """
    answer, references = _alike(answer, references)
    return min(sum(reference == answer for reference in references) / 3.0, 1.0)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer is one of the references, but for case and spaces, else 0."""
    return float(_folded(answer) in {_folded(reference) for reference in references})


def anls(answer: str, references: Sequence[str], *, threshold: float = ANLS_THRESHOLD) -> float:
    """Average normalised Levenshtein similarity of one answer.

    It is the highest over the references of 1 - edits / length of the longer, where edits /
    length stays below the threshold, else 0. Case and the amount of space do not matter.

    Source: Biten et al., "Scene Text Visual Question Answering".
    """
    best = 0.0
    for reference in references:
        ours, theirs = _folded(answer), _folded(reference)
        distance = edit_distance(ours, theirs) / max(len(ours), len(theirs), 1)
        best = max(best, 1.0 - distance if distance < threshold else 0.0)
    return best


METRICS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "vqa_accuracy": vqa_accuracy,
    "simple_vqa_accuracy": simple_vqa_accuracy,
    "exact_match": exact_match,
    "anls": anls,
}


def answer_scores(
    answers: Sequence[str], references: Sequence[Sequence[str]], metric: str
) -> np.ndarray:
    """float64[examples] of one of `METRICS`.

    Raises:
        UserError: an unknown metric, another number of references than answers, or an example
            without references.
    """
    if metric not in METRICS:
        raise UserError(f"there is no answer metric {metric!r}; choose among {sorted(METRICS)}")
    if len(answers) != len(references) or not all(references):
        raise UserError(
            f"{metric} of {len(answers)} answers needs at least one reference for each; leave "
            "questions without answers out"
        )
    score = METRICS[metric]
    return np.array(
        [score(answer, own) for answer, own in zip(answers, references, strict=True)], np.float64
    )


def most_frequent_answer(references: Sequence[Sequence[str]]) -> str:
    """The answer given most often over all examples; of equally frequent ones the first."""
    counts = Counter(answer for own in references for answer in own)
    return max(counts, key=counts.__getitem__) if counts else ""


def edit_distance(first: str, second: str) -> int:
    """Fewest insertions, deletions and replacements of letters that make one the other."""
    if first == second:
        return 0
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, start=1):
        above_left, row[0] = row[0], number
        for place, other in enumerate(second, start=1):
            replaced = above_left + (letter != other)
            above_left = row[place]
            row[place] = min(replaced, above_left + 1, row[place - 1] + 1)
    return row[-1]


def _alike(answer: str, references: Sequence[str]) -> tuple[str, list[str]]:
    answer = re.sub(r"[\n\t]", " ", answer).strip()
    if len(set(references)) == 1:
        return answer, list(references)
    return plain_answer(answer), [plain_answer(reference) for reference in references]


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
