"""Captions to the words that caption metrics count."""

import functools
import re
import unicodedata

# Written without spaces between words: every character is a word of its own.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59"  # Thai
    "\u0e81-\u0edf"  # Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17d3\u17e0-\u17e9"  # Khmer
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_SYMBOLS = "$%#&*+=<>^~|"
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u00b4": "'", "`": "'"})
_ABBREVIATIONS = "mr|mrs|ms|dr|jr|sr|st|mt|ft|vs|etc|inc|co|corp|ave|blvd|lt|sgt|capt|gen|prof|rev"
# What the Penn treebank writes apart though no apostrophe shows where.
_APART = {
    "cannot": ("can", "not"),
    "gimme": ("gim", "me"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "wanna": ("wan", "na"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}
_SUFFIX = re.compile(r"(.+?)(n't|'s|'re|'ve|'ll|'d|'m)$")


def caption_tokens(caption: str) -> list[str]:
    """Lower-case words without punctuation, cut as the COCO caption toolkit cuts English.

    The rules are those of the Penn treebank as far as captions show them: `dog's` is `dog 's`,
    `don't` is `do n't`, `cannot` is `can not`; `black-and-white`, `1/2`, `5:30`, `u.s.` and
    `man.then` stay whole; all punctuation goes. Brackets go too, where that toolkit keeps
    `-lrb-`. Chinese, Japanese, Thai, Lao, Khmer and Burmese are cut into characters, vowel signs
    and tone marks staying with the one before: no dictionary of words decides what is right.
    Other languages are cut at spaces and punctuation; `l'homme` is one word.

    Args:
        caption: any Unicode text. It is brought to form NFKC first.
    """
    folded = unicodedata.normalize("NFKC", caption).lower().translate(_QUOTES)
    pattern = _ascii_pattern() if folded.isascii() else _unicode_pattern()
    words: list[str] = []
    for found in pattern.findall(folded):
        words.extend(_parts(found))
    return words


def written_words(caption: str) -> tuple[list[str], str]:
    """A caption's words as they are written, with punctuation, and what stands between them.

    They are cut at spaces; a caption with any character of a script without spaces is cut into
    characters, between which nothing stands.
    """
    if _unspaced_pattern().search(caption):
        return list(caption), ""
    return caption.split(), " "


def repetition_words(caption: str) -> list[str]:
    """Lower-case words among which repetition is counted.

    A final period goes and commas are spaces; all else stays as it is written.

    Source: the evaluation of MART (Lei et al., "MART: Memory-Augmented Recurrent Transformer").
    """
    plain = caption.lower().strip().removesuffix(".").replace(",", " ")
    return [word for word in written_words(plain)[0] if word.strip()]


def _parts(word: str) -> tuple[str, ...]:
    if word in _APART:
        return _APART[word]
    if "'" in word:
        match = _SUFFIX.match(word)
        if match is not None:
            return (*_parts(match[1]), match[2])
    return (word,)


@functools.cache
def _ascii_pattern() -> re.Pattern:
    return re.compile(_words_like(r"[a-z0-9]"))


@functools.cache
def _unspaced_pattern() -> re.Pattern:
    return re.compile(f"[{_UNSPACED}]")


@functools.cache
def _unicode_pattern() -> re.Pattern:
    marks = f"[{_marks()}]*"
    unspaced = f"[{_UNSPACED}]{marks}"
    return re.compile(f"{unspaced}|" + _words_like(rf"(?:[^\W_{_UNSPACED}]{marks})"))


def _words_like(letter: str) -> str:
    """Words in order of preference; what none matches, punctuation and spaces, is left out."""
    return (
        rf"(?:{letter}\.){{2,}}(?!{letter})"
        rf"|(?:{_ABBREVIATIONS})\.(?=\s+\S)"
        r"|'(?:tis|twas)\b"
        rf"|'(?:s|re|ve|ll|d|m|n'|n)(?!{letter})"
        rf"|{letter}+(?:(?:[-'./]|(?<=\d)[,:](?=\d)){letter}+)*"
        rf"|[{re.escape(_SYMBOLS)}]"
    )


def _marks() -> str:
    """Combining marks as the inside of a character class; `re` counts them as no letters."""
    points = [p for p in range(0x300, 0x20000) if unicodedata.category(chr(p))[0] == "M"]
    ranges, start = [], points[0]
    for point, following in zip(points, [*points[1:], -1], strict=True):
        if following != point + 1:
            ranges.append(f"{chr(start)}-{chr(point)}")
            start = following
    return "".join(ranges)
