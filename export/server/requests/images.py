"""Size of an encoded image from its header, so that a small body cannot ask for a huge decode."""

import struct

# What files start with, and as what and where they hold width and height.
_SIZES = ((b"\x89PNG\r\n\x1a\n", ">II", 16), (b"GIF8", "<HH", 6), (b"BM", "<ii", 18))
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_NOT_FRAME_HEADERS = frozenset({0xC4, 0xC8, 0xCC})
_MAX_JPEG_SEGMENTS = 512


def encoded_image_pixels(encoded: bytes) -> int | None:
    """Height times width of a JPEG, PNG, GIF or BMP; None for anything else or a broken header."""
    if encoded[:2] == b"\xff\xd8":
        return _jpeg_pixels(encoded)
    for magic, two_numbers, position in _SIZES:
        if encoded.startswith(magic) and len(encoded) >= position + struct.calcsize(two_numbers):
            width, height = struct.unpack_from(two_numbers, encoded, position)
            return abs(width * height)
    return None


def _jpeg_pixels(encoded: bytes) -> int | None:
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if position + 4 > len(encoded) or encoded[position] != 0xFF:
            return None
        marker = encoded[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _STANDALONE_MARKERS:
            position += 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAME_HEADERS:
            if position + 9 > len(encoded):
                return None
            height, width = struct.unpack(">HH", encoded[position + 5 : position + 9])
            return height * width
        else:
            position += 2 + struct.unpack(">H", encoded[position + 2 : position + 4])[0]
    return None
