import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_models.errors import UserError
from mm_models.metrics.bleu import bleu, bleu_by_group
from mm_models.metrics.caption_tokens import repetition_words
from mm_models.metrics.captioning import caption_scores, check_metrics, repetition
from mm_models.metrics.cider import cider_d
from mm_models.metrics.meteor_light import align, meteor_light
from mm_models.metrics.rouge import longest_common_subsequence, rouge_l
from tests.mm_models.metrics.caption_references import plain_bleu, plain_cider, plain_subsequence

sentences = st.lists(st.sampled_from("abcde"), max_size=8)
examples = st.lists(
    st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=1, max_size=6
)
some = settings(max_examples=60, deadline=None)


def split(*captions):
    return [caption.split() for caption in captions]


def unzip(drawn):
    return [candidate for candidate, _ in drawn], [own for _, own in drawn]


def test_cider_by_hand():
    # "a" is in both examples and weighs nothing; every other n-gram weighs log 2. The second
    # caption has cosines 1/sqrt(15) for words and 1/3 for pairs.
    scores = cider_d(split("a b c d", "a x q q"), [split("a b c d"), split("a x y z")])
    np.testing.assert_allclose(scores, [10.0, 2.5 * (1 / math.sqrt(15) + 1 / 3)])


def test_cider_knows_no_rarity_in_a_single_example_and_lowers_other_lengths():
    assert cider_d(split("a b c d"), [split("a b c d")]) == [0.0]
    same, longer = cider_d(split("a b c d", "e f g h i"), [split("a b c d"), split("e f g h")])
    words, pairs, triples, fours = 4 / 20**0.5, 3 / 12**0.5, 2 / 6**0.5, 1 / 2**0.5
    cosines = (words + pairs + triples + fours) / 4
    assert same == pytest.approx(10.0)
    assert longer == pytest.approx(10.0 * cosines * math.exp(-1 / 72))


@some
@given(examples)
def test_cider_equals_the_plain_one_and_stays_in_bounds(drawn):
    candidates, references = unzip(drawn)
    scores = cider_d(candidates, references)
    np.testing.assert_allclose(scores, plain_cider(candidates, references), atol=1e-12)
    assert (scores >= 0).all() and (scores <= 10 + 1e-9).all()


@some
@given(examples, st.randoms(use_true_random=False))
def test_order_and_names_of_words_do_not_matter(drawn, random):
    candidates, references = unzip(drawn)
    order = list(range(len(drawn)))
    random.shuffle(order)
    renamed = dict(zip("abcde", random.sample("vwxyz", 5), strict=True))

    def changed(words):
        return [renamed[word] for word in words]

    mixed = [changed(candidates[row]) for row in order]
    turned = [[changed(words) for words in reversed(references[row])] for row in order]
    np.testing.assert_allclose(
        cider_d(mixed, turned), cider_d(candidates, references)[order], atol=1e-12
    )
    np.testing.assert_allclose(bleu(mixed, turned).corpus, bleu(candidates, references).corpus)
    np.testing.assert_allclose(rouge_l(mixed, turned), rouge_l(candidates, references)[order])


@some
@given(st.lists(st.integers(4, 9), min_size=2, max_size=5))
def test_captions_equal_to_their_only_reference_score_full_marks(lengths):
    captions = [[f"{row}-{place}" for place in range(n)] for row, n in enumerate(lengths)]
    references = [[words] for words in captions]
    np.testing.assert_allclose(cider_d(captions, references), 10.0)
    np.testing.assert_allclose(bleu(captions, references).corpus, 1.0, atol=1e-8)
    np.testing.assert_allclose(rouge_l(captions, references), 1.0)
    np.testing.assert_allclose(meteor_light(captions, references), 1.0)


def test_bleu_by_hand():
    clipped = bleu(split("the the the"), [split("the cat")])
    assert clipped.corpus[0] == pytest.approx(1 / 3)
    short = bleu(split("a b"), [split("a b c d", "a b c d e")])
    assert short.corpus[:2] == pytest.approx([math.exp(-1)] * 2)
    # Of two references equally near in length, the shorter one: no penalty.
    assert bleu(split("a b c"), [split("a b", "a b c d")]).corpus[0] == pytest.approx(1.0)


@some
@given(examples)
def test_bleu_equals_the_plain_one_and_its_error_is_the_jackknife(drawn):
    candidates, references = unzip(drawn)
    found = bleu(candidates, references)
    plain = [plain_bleu(candidates, references, order) for order in range(1, 5)]
    np.testing.assert_allclose(found.corpus, plain, rtol=1e-9, atol=1e-300)
    alone = [plain_bleu(candidates[:1], references[:1], order) for order in range(1, 5)]
    np.testing.assert_allclose(found.per_example[0], alone, rtol=1e-9, atol=1e-300)
    count = len(drawn)
    if count > 1:
        left_out = np.array(
            [
                plain_bleu(
                    candidates[:i] + candidates[i + 1 :], references[:i] + references[i + 1 :], 1
                )
                for i in range(count)
            ]
        )
        expected = np.sqrt((count - 1) * left_out.var())
        assert found.standard_errors[0] == pytest.approx(expected, abs=1e-7)


def test_rouge_by_hand():
    # Two words in common: precision 1/2, recall 2/3; then the best of both over two references.
    one, two = rouge_l(
        split("a b c d", "a b c d"), [split("a c e"), split("a c e", "a b c d x x x x")]
    )
    assert one == pytest.approx(2.44 * 0.5 * (2 / 3) / (2 / 3 + 1.44 * 0.5))
    assert two == pytest.approx(2.44 * 1.0 * (2 / 3) / (2 / 3 + 1.44 * 1.0))


@some
@given(sentences, sentences)
def test_longest_common_subsequence(first, second):
    assert longest_common_subsequence(first, second) == plain_subsequence(first, second)


def test_meteor_light_by_hand():
    candidate, reference = split("dogs run fast", "dog runs fast today")
    precision, recall = 2.2 / 3, 2.2 / 4
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    expected = (1 - 0.6 * (1 / 3) ** 0.2) * mean
    assert meteor_light([candidate], [[reference]])[0] == pytest.approx(expected)
    exact = 1 / 4 * 1 / 3 / (0.85 / 3 + 0.15 / 4) * (1 - 0.6)
    assert meteor_light([candidate], [[reference]], stems=False)[0] == pytest.approx(exact)


def test_meteor_aligns_most_words_in_fewest_chunks():
    # The second word could stand in two places; between its neighbours it makes one chunk of all.
    assert align([{2: 1.0}, {0: 1.0, 3: 1.0}, {4: 1.0}]) == (3, 1, 3.0)
    # Taking the nearer place for the first word would leave the second without one.
    assert align([{0: 1.0, 1: 0.6}, {0: 1.0}]) == (2, 2, 1.6)


def test_no_words_score_nothing_and_no_reference_is_refused():
    for metric in ("cider", "bleu", "rouge_l", "meteor_light"):
        found = caption_scores(["", "two cats"], [["a dog"], ["two cats"]], [metric])
        assert next(iter(found.per_example.values()))[0] == pytest.approx(0.0, abs=1e-6)
        with pytest.raises(UserError, match="example 1 has no reference"):
            caption_scores(["a", "b"], [["a"], []], [metric])


def test_caption_scores_name_what_they_measured():
    candidates, references = ["Zwei Hunde.", "eine Katze"], [["zwei hunde"], ["ein Kater"]]
    found = caption_scores(
        candidates, references, ["cider", "bleu", "rouge_l", "meteor"], language="de"
    )
    bleus = [f"bleu_{n}" for n in range(1, 5)]
    assert sorted(found.table) == sorted(["cider", *bleus, "meteor_light", "rouge_l"])
    assert found.table["rouge_l"] == (0.5, 0.5, 2)
    assert found.per_example["rouge_l"].tolist() == [1.0, 0.0]
    with_jar = caption_scores(
        candidates,
        references,
        ["meteor"],
        language="en-GB",
        jar=lambda *_: (0.75, np.array([0.5, 0.9])),
    )
    assert with_jar.table["meteor"] == pytest.approx((0.75, 0.2, 2))
    assert not caption_scores(candidates, references, ["meteor"], language="de", jar=1).table


def test_unknown_metrics_and_two_meteors_are_refused():
    with pytest.raises(UserError, match="spice"):
        check_metrics(["cider", "spice"])
    with pytest.raises(UserError, match="meteor_light"):
        check_metrics(["meteor", "meteor_light"])


def test_repetition_counts_what_a_page_says_again():
    captions = split("a b c d e", "x", "a b c d e", "x y z u v")
    score = repetition(captions, ["one", "two", "one", "two"])
    # Page one has two 4-grams twice each, page two has two different ones.
    assert score.value == pytest.approx((0.5 + 0.0) / 2)
    assert repetition(split("a b"), ["one"]).value == 0.0


def test_repetition_strips_a_final_period_and_reads_commas_as_spaces():
    assert repetition_words(" The man's dog,black-and-white, sits. ") == [
        *("the", "man's", "dog", "black-and-white", "sits")
    ]
    assert repetition_words("人が立つ.") == ["人", "が", "立", "つ"]
    video = ["The man lifts the bar.", "the man lifts the bar, then the man lifts the bar"]
    # `the man lifts the` and `man lifts the bar` stand three times each, four others once.
    score = repetition([repetition_words(text) for text in video], ["v", "v"])
    assert score.value == pytest.approx(4 / (2 + 8))


@some
@given(examples, st.data())
def test_bleu_by_group_is_that_of_each_group(drawn, data):
    candidates, references = unzip(drawn)
    groups = np.array([data.draw(st.integers(0, 2)) for _ in drawn])
    found = bleu_by_group(candidates, references, groups)
    for group in set(groups.tolist()):
        rows = np.flatnonzero(groups == group)
        own = [candidates[row] for row in rows], [references[row] for row in rows]
        np.testing.assert_allclose(found[group], bleu(*own).corpus, rtol=1e-9, atol=1e-300)
