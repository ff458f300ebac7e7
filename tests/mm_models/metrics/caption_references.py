"""Caption scores written plainly, one sentence at a time, to hold the fast ones to."""

import collections
import math


def grams(words, order):
    return collections.Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def plain_cider(candidates, references):
    """Mean cosine over orders 1 to 4 and references, one example after the other."""
    num_examples = len(candidates)
    held = collections.Counter()
    for own in references:
        held.update({gram for words in own for n in range(1, 5) for gram in grams(words, n)})

    def vector(words, order):
        return {
            gram: count * math.log(num_examples / max(1, held[gram]))
            for gram, count in grams(words, order).items()
        }

    def norm(weights):
        return math.sqrt(sum(weight**2 for weight in weights.values()))

    scores = []
    for candidate, own in zip(candidates, references, strict=True):
        total = 0.0
        for words in own:
            difference = max(len(candidate) - 1, 0) - max(len(words) - 1, 0)
            for order in range(1, 5):
                ours, theirs = vector(candidate, order), vector(words, order)
                dot = sum(min(ours.get(g, 0.0), w) * w for g, w in theirs.items())
                scale = norm(ours) * norm(theirs)
                cosine = dot / scale if scale else 0.0
                total += cosine * math.exp(-(difference**2) / 72.0)
        scores.append(10.0 * total / 4.0 / len(own))
    return scores


def plain_bleu(candidates, references, order):
    """BLEU of a whole set."""
    matches, guesses = [0] * order, [0] * order
    length = nearest = 0
    for candidate, own in zip(candidates, references, strict=True):
        length += len(candidate)
        nearest += min((abs(len(words) - len(candidate)), len(words)) for words in own)[1]
        for n in range(1, order + 1):
            most = collections.Counter()
            for words in own:
                most |= grams(words, n)
            matches[n - 1] += sum((grams(candidate, n) & most).values())
            guesses[n - 1] += max(len(candidate) - n + 1, 0)
    score = 1.0
    for hits, tries in zip(matches, guesses, strict=True):
        score *= (hits + 1e-15) / (tries + 1e-9)
    score **= 1.0 / order
    ratio = (length + 1e-15) / (nearest + 1e-9)
    return score * (math.exp(1.0 - 1.0 / ratio) if ratio < 1 else 1.0)


def plain_subsequence(first, second):
    """Length of the longest common subsequence, by the table."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = row[:]
        for place, other in enumerate(second, start=1):
            row[place] = (
                before[place - 1] + 1 if word == other else max(before[place], row[place - 1])
            )
    return row[-1]
