"""Split-cap: a caption cut in two, the first part in the prompt and the second as the target.

Source: PaLI, section 3.3.
"""

from collections.abc import Callable

# Languages written without blanks between words; their captions are cut between pieces.
WITHOUT_BLANKS = frozenset(("bo", "dz", "ja", "km", "lo", "my", "shn", "th", "wuu", "yue", "zh"))


def units(text: str, language: str, split: Callable[[str], list[str]]) -> list[str]:
    """What a caption may be cut between; joined they are the caption, its blanks made single.

    Args:
        text: the caption.
        language: BCP 47; its region and script do not matter.
        split: a text's SentencePiece pieces as they stand in it, for languages without blanks
            between words.
    """
    text = " ".join(text.split())
    if language.partition("-")[0].lower() in WITHOUT_BLANKS:
        return split(text)
    return [word if place == 0 else f" {word}" for place, word in enumerate(text.split(" "))]


def split_caption(
    text: str, language: str, draw: float, split: Callable[[str], list[str]]
) -> tuple[int, str, str]:
    """Place of the cut and the two parts; place 0 leaves the first part empty: plain captioning.

    Args:
        text: the caption.
        language: BCP 47.
        draw: uniform in [0, 1); the place is uniform over all units but behind the last one.
        split: as in `units`.

    Returns:
        (units before the cut, first part, second part without the blank in front).
    """
    parts = units(text, language, split)
    place = min(int(draw * len(parts)), len(parts) - 1)
    return place, "".join(parts[:place]), "".join(parts[place:]).removeprefix(" ")
