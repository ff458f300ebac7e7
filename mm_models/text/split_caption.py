"""Split-cap: a caption cut in two, the first part in the prompt and the second as the target.

Source: PaLI, section 3.3.
"""

from collections.abc import Callable

# Languages written without blanks between words; their captions are cut between pieces.
WITHOUT_BLANKS = frozenset(("bo", "dz", "ja", "km", "lo", "my", "shn", "th", "wuu", "yue", "zh"))
_SPACE_MARK = "\u2581"


def units(text: str, language: str, split: Callable[[str], list[str]]) -> list[str]:
    """What a caption may be cut between; joined they are the caption, its blanks made single.

    Args:
        text: the caption.
        language: BCP 47; its region and script do not matter.
        split: SentencePiece's pieces of a text, for languages without blanks between words.
    """
    text = " ".join(text.split())
    if language.partition("-")[0].lower() in WITHOUT_BLANKS:
        pieces = [piece.replace(_SPACE_MARK, " ") for piece in split(text)]
        pieces[:1] = [piece.removeprefix(" ") for piece in pieces[:1]]
        return [piece for piece in pieces if piece]
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
