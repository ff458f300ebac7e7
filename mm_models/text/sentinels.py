"""Sentinels: pieces at the end of a SentencePiece model that stand for left-out text.

Imports no TensorFlow and no SentencePiece: it writes the model file's protocol buffer by hand.
"""

import struct

# The mark in front is SentencePiece's space, so that a sentinel takes up the blank before it.
SENTINEL = "\u2581<extra_id_{}>"
_USER_DEFINED = 4


def with_sentinels(model: bytes, count: int) -> bytes:
    """A SentencePiece model with `count` sentinels behind its pieces; sentinel 0 is the last.

    Fields of a protocol buffer that repeat may be appended to it, so the model itself is kept byte
    for byte.

    Args:
        model: bytes of a `.model` file.
        count: sentinels to add.

    Source: seqio's SentencePiece vocabulary; mT5's model holds 100 of them.
    """
    return model + b"".join(_piece(SENTINEL.format(n)) for n in reversed(range(count)))


def sentinel_id(vocabulary_size: int, number: int) -> int:
    """Id of sentinel `number`: they count down from the last id. Source: T5."""
    return vocabulary_size - 1 - number


def _piece(text: str) -> bytes:
    """A `ModelProto.pieces` entry: text, score 0, and the type of pieces that are never split."""
    encoded = text.encode()
    body = b"\x0a" + bytes([len(encoded)]) + encoded
    body += b"\x15" + struct.pack("<f", 0.0) + b"\x18" + bytes([_USER_DEFINED])
    return b"\x0a" + bytes([len(body)]) + body
