"""From the pieces of a text to the words that they are parts of."""

from collections.abc import Sequence

from mm_models.metrics.caption_tokens import caption_tokens


def piece_words(pieces: Sequence[str]) -> list[str]:
    """The word that each piece is a part of, as captions are compared; empty for what is no word.

    Args:
        pieces: of one text, as `SentencePieceTokenizer.pieces` gives them: a blank is in front of
            each word, and what stands for nothing is empty.
    """
    words: list[str] = []
    start = 0
    for place in range(1, len(pieces) + 1):
        if place == len(pieces) or not pieces[place] or pieces[place].startswith(" "):
            word = " ".join(caption_tokens("".join(pieces[start:place])))
            words += [word if pieces[part] else "" for part in range(start, place)]
            start = place
    return words
