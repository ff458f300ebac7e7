"""What the layout of a file tells of `SourceProperty`: edits, and files one behind the other."""

import functools
import os
import pathlib
import struct
from collections.abc import Iterator

from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.media.structure import MP4_BOXES

# Bytes of a header that a second file repeats, and what stands where one picture follows another.
_MATROSKA = b"\x1aE\xdf\xa3"
_REPEATED_HEADERS = {_MATROSKA: 10, b"FLV\x01": 9, b"caff": 12, b"riff\x2e\x91\xcf\x11": 16}
_PICTURE_JOINTS = {
    b"GIF8": b"\x00\x3bGIF8",
    b"\x89PNG": b"IEND\xaeB`\x82\x89PNG",
    b"\xff\xd8\xff": b"\xff\xd9\xff\xd8\xff",
}
_SEARCH_BYTES = 1 << 20
_MAX_EDITS = 100
_OGG_PAGE = struct.Struct("<4sBBqIIIB")
_OGG_BEGINS = 2


def properties_of_file(path: str) -> set[SourceProperty]:
    """What the layout of a file says of `SourceProperty`."""
    status = os.stat(path)
    return set(_layout_properties(path, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=1)  # windows open their file again and again, and some are searched
def _layout_properties(path: str, size_bytes: int, _: int) -> frozenset[SourceProperty]:
    with pathlib.Path(path).open("rb") as file:
        head = file.read(16)
        if head[4:8] in MP4_BOXES:
            return frozenset(_iso_properties(file, size_bytes))
        if head.startswith(b"OggS"):
            found = SourceProperty.CHAINED if _is_chained_ogg(file, size_bytes) else None
        elif head.startswith((b"RIFF", b"FORM")):
            found = SourceProperty.TRAILING_FILE if _has_second_chunk(file, head) else None
        elif _has_joint(file, head):
            is_read_on = head.startswith(_MATROSKA)
            found = SourceProperty.CHAINED if is_read_on else SourceProperty.TRAILING_FILE
        else:
            found = None
    return frozenset(filter(None, [found]))


def _has_second_chunk(file, head: bytes) -> bool:
    order = "<I" if head.startswith(b"RIFF") else ">I"
    end = 8 + struct.unpack(order, head[4:8])[0]
    file.seek(end + end % 2)
    return file.read(4) == head[:4]


def _has_joint(file, head: bytes) -> bool:
    """Whether a second file begins inside one whose format does not say where it ends."""
    joints = [head[:size] for magic, size in _REPEATED_HEADERS.items() if head.startswith(magic)]
    joints += [joint for magic, joint in _PICTURE_JOINTS.items() if head.startswith(magic)]
    if not joints:
        return False
    file.seek(1)
    block = b""
    while fresh := file.read(_SEARCH_BYTES):
        block = block[-len(joints[0]) :] + fresh
        if joints[0] in block:
            return True
    return False


def _iso_boxes(file, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of every whole box between two places."""
    while start + 8 <= end:
        file.seek(start)
        length, name = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1:
            length, content = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0], start + 16
        length = length or end - start
        if length < 8 or start + length > end:
            return
        yield name, content, start + length
        start += length


def _iso_properties(file, size_bytes: int) -> set[SourceProperty]:
    found, num_indexes = set(), 0
    for name, start, end in _iso_boxes(file, 0, size_bytes):
        num_indexes += name == b"moov"
        tracks = _iso_boxes(file, start, end) if name == b"moov" and num_indexes == 1 else ()
        for inner, inner_start, inner_end in tracks:
            if inner == b"trak" and _is_edited(file, inner_start, inner_end):
                found.add(SourceProperty.EDITED)
    return found | ({SourceProperty.TRAILING_FILE} if num_indexes > 1 else set())


def _is_edited(file, start: int, end: int) -> bool:
    """Whether a track has more than a delay and one part at its own speed."""
    for name, edits_start, edits_end in _iso_boxes(file, start, end):
        for inner, list_start, _ in _iso_boxes(file, edits_start, edits_end):
            if name == b"edts" and inner == b"elst":
                return _has_real_edits(file, list_start)
    return False


def _has_real_edits(file, start: int) -> bool:
    file.seek(start)
    header = file.read(8)
    if len(header) < 8:
        return False
    entry = struct.Struct(">Qqhh" if header[0] == 1 else ">Iihh")
    count = min(struct.unpack(">I", header[4:])[0], _MAX_EDITS)
    entries = [file.read(entry.size) for _ in range(count)]
    edits = [entry.unpack(data) for data in entries if len(data) == entry.size]
    played = [(whole, fraction) for _, media_time, whole, fraction in edits if media_time >= 0]
    return len(played) > 1 or any(speed != (1, 0) for speed in played)


def _is_chained_ogg(file, size_bytes: int) -> bool:
    """Whether a stream begins behind pages with data, found by walking over the pages."""
    start, is_in_data = 0, False
    while start + _OGG_PAGE.size <= size_bytes:
        file.seek(start)
        magic, _, flags, _, _, _, _, num_segments = _OGG_PAGE.unpack(file.read(_OGG_PAGE.size))
        if magic != b"OggS":
            return False
        begins = bool(flags & _OGG_BEGINS)
        if begins and is_in_data:
            return True
        is_in_data = is_in_data or not begins
        start += _OGG_PAGE.size + num_segments + sum(file.read(num_segments))
    return False
