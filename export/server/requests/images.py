"""Size of an encoded picture from its header, so that a small body cannot ask for a huge decode.

Every format that TensorFlow's decoders read is known here; what is not read here to the end of its
header counts as unreadable, since the decoder might read it otherwise.
"""

import itertools
import struct
from collections.abc import Callable, Iterator

FORMATS = "JPEG, PNG, GIF, BMP or WebP"
# Blocks of a file are walked one by one; a regular one has far fewer.
_MAX_BLOCKS = 200_000
# Each scan of a progressive JPEG goes over all pixels again.
_MAX_JPEG_SCANS = 100
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_TOO_EARLY = frozenset({0xD8, 0xD9, 0xDA})


def encoded_image_pixels(encoded: bytes) -> int | None:
    """Height times width times frames of a picture's file; None for anything unreadable.

    Where the parts of a file announce several sizes, the largest counts.
    """
    for magic, read in _READERS:
        if encoded.startswith(magic):
            try:
                return read(encoded) or None
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _jpeg_pixels(encoded: bytes) -> int:
    if encoded.count(b"\xff\xda") > _MAX_JPEG_SCANS:
        raise ValueError("too many scans")
    position = 2
    for _ in range(_MAX_BLOCKS):
        # As libjpeg does: whatever stands before the next marker is passed over.
        position = encoded.index(b"\xff", position) + 1
        marker = encoded[position]
        if marker in _JPEG_FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", encoded, position + 4)
            return height * width
        if marker in _JPEG_TOO_EARLY:
            break
        if marker not in (0x00, 0xFF) and marker not in _JPEG_STANDALONE:
            position += 1 + max(struct.unpack_from(">H", encoded, position + 1)[0], 2)
        elif marker != 0xFF:
            position += 1
    raise ValueError("no frame header")


def _png_pixels(encoded: bytes) -> int:
    if encoded[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    width, height = struct.unpack_from(">II", encoded, 16)
    return width * height


def _bmp_pixels(encoded: bytes) -> int:
    width, height = struct.unpack_from("<ii", encoded, 18)
    return abs(width * height)


def _gif_pixels(encoded: bytes) -> int:
    """Canvas, or what a frame adds beyond it, times the frames."""
    width, height, flags = struct.unpack_from("<HHB", encoded, 6)
    frames = list(_gif_frames(encoded, 13 + _gif_colours(flags)))
    return max([width * height, *frames]) * len(frames)


def _gif_frames(encoded: bytes, position: int) -> Iterator[int]:
    """Pixels of each frame, up to the trailer or the end of a file that is cut short."""
    blocks = itertools.count()
    while position < len(encoded) and encoded[position] != 0x3B:
        kind = encoded[position]
        if kind == 0x2C and position + 10 <= len(encoded):
            width, height, flags = struct.unpack_from("<HHB", encoded, position + 5)
            yield width * height
            position += 11 + _gif_colours(flags)
        elif kind == 0x21:
            position += 2
        else:
            raise ValueError("no block of a GIF")
        while position < len(encoded) and (size := encoded[position]):
            position += 1 + size
            _count(blocks)
        position += 1
        _count(blocks)


def _gif_colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp_pixels(encoded: bytes) -> int:
    if encoded[8:12] != b"WEBP" or encoded[12:16] not in _WEBP_SIZES:
        raise ValueError("no WebP")
    largest, num_frames, position, blocks = 0, 0, 12, itertools.count()
    while position + 8 <= len(encoded):
        kind, size = struct.unpack_from("<4sI", encoded, position)
        position += 8
        if kind in _WEBP_SIZES:
            largest = max(largest, _WEBP_SIZES[kind](encoded, position))
        num_frames += kind == b"ANMF"
        position += size + size % 2
        _count(blocks)
    return largest * max(num_frames, 1)


def _webp_lossy(encoded: bytes, position: int) -> int:
    if encoded[position + 3 : position + 6] != b"\x9d\x01\x2a":
        raise ValueError("no key frame")
    width, height = struct.unpack_from("<HH", encoded, position + 6)
    return (width & 0x3FFF) * (height & 0x3FFF)


def _webp_lossless(encoded: bytes, position: int) -> int:
    signature, sizes = struct.unpack_from("<BI", encoded, position)
    if signature != 0x2F:
        raise ValueError("no lossless picture")
    return ((sizes & 0x3FFF) + 1) * ((sizes >> 14 & 0x3FFF) + 1)


def _webp_canvas(encoded: bytes, position: int) -> int:
    return _webp_sides(encoded, position + 4)


def _webp_frame(encoded: bytes, position: int) -> int:
    return _webp_sides(encoded, position + 6)


def _webp_sides(encoded: bytes, position: int) -> int:
    sides = encoded[position : position + 6]
    if len(sides) < 6:
        raise ValueError("cut short")
    return (int.from_bytes(sides[:3], "little") + 1) * (int.from_bytes(sides[3:], "little") + 1)


def _count(blocks: Iterator[int]) -> None:
    if next(blocks) > _MAX_BLOCKS:
        raise ValueError("too many blocks")


_WEBP_SIZES: dict[bytes, Callable[[bytes, int], int]] = {
    b"VP8 ": _webp_lossy,
    b"VP8L": _webp_lossless,
    b"VP8X": _webp_canvas,
    b"ANMF": _webp_frame,
}
_READERS: tuple[tuple[bytes, Callable[[bytes], int]], ...] = (
    (b"\xff\xd8\xff", _jpeg_pixels),
    (b"\x89PNG\r\n\x1a\n", _png_pixels),
    (b"GIF8", _gif_pixels),
    (b"BM", _bmp_pixels),
    (b"RIFF", _webp_pixels),
)
