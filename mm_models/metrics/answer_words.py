"""Answers brought to one spelling, as the official VQA evaluation does."""

import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")

# The right spellings; answers that leave out one of the apostrophes are brought to them. Those of
# "I" are not among them, and "we'll", "she'll", "well" and the like could be other words.
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


_SPELLINGS = {
    wrong: right for right in _CONTRACTIONS.split() for wrong in _without_one_apostrophe(right)
} | {"somebody'd": "somebodyd"}


def plain_answer(answer: str) -> str:
    """The answer in lower case without punctuation and articles, numbers to ten as digits.

    A mark of punctuation between two letters becomes a space; beside a space it goes, and so do
    all marks of an answer that has a comma inside a number. A period goes unless a digit follows.

    Args:
        answer: English; other languages lose punctuation and case only.

    Source: the evaluation of VQA v2 (Goyal et al., "Making the V in VQA matter").
    """
    answer = re.sub(r"[\n\t]", " ", answer).strip()
    cleaned = answer
    closes_up = _COMMA_IN_NUMBER.search(answer) is not None
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        cleaned = cleaned.replace(mark, "" if beside_space or closes_up else " ")
    words = _PERIOD.sub("", cleaned).lower().split()
    numbered = [_NUMBERS.get(word, word) for word in words]
    return " ".join(_SPELLINGS.get(word, word) for word in numbered if word not in _ARTICLES)
