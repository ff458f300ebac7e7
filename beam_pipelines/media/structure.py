"""What the first bytes and the length fields of a file say, before any decoder sees it."""

import hashlib
import os
import pathlib
import stat
import struct

from beam_pipelines.rejects import Reject, RejectCode

MP4_BOXES = frozenset(b"ftyp moov mdat moof free skip wide uuid sidx styp mfra meta pnot".split())
_STREAMED_LENGTHS = (0, 0xFFFFFFFF)
_AVIF_BRANDS = (b"avif", b"avis")
# Formats that people keep media in and that are not read, by their first bytes.
_UNREAD_FORMATS = {
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    **{b"P%d%c" % (kind, space): "PNM" for kind in range(1, 8) for space in b"\n\r\t "},
    **{b"P%c\n" % kind: "PFM" for kind in b"Ff"},
    b"II+\x00": "BigTIFF",
    b"MM\x00+": "BigTIFF",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"DDS ": "DirectDraw surface",
    b"qoif": "QOI",
    b"farbfeld": "farbfeld",
    b"\x00\x00\x01\x00": "Windows icon",
    b"SIMPLE  =": "FITS",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"FWS": "Flash",
    b"CWS": "Flash",
    b"ZWS": "Flash",
    b"MThd": "MIDI",
    b"DSD ": "DSD",
    b"MPCK": "Musepack",
    b"MP+": "Musepack",
    b"BIK": "Bink video",
    b"SMK2": "Smacker video",
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11": "Windows recorded TV",
}
_XING_SEARCH_BYTES = 1 << 16


def check_file(path: str, max_file_bytes: int) -> Reject | None:
    """Rejects what is not a regular, non-empty file of acceptable size and of no unread format."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Reject(RejectCode.FILE_MISSING, f"the file cannot be read: {reason}")
    if not stat.S_ISREG(status.st_mode):
        return Reject(RejectCode.NOT_MEDIA, "not a regular file")
    if status.st_size == 0:
        return Reject(RejectCode.FILE_EMPTY, "the file has no bytes")
    if status.st_size > max_file_bytes:
        return Reject(
            RejectCode.FILE_TOO_LARGE, f"{status.st_size} bytes, the limit is {max_file_bytes}"
        )
    if not os.access(path, os.R_OK):
        return Reject(RejectCode.FILE_MISSING, "the file cannot be read: permission denied")
    head = read_head(path)
    for magic, name in _UNREAD_FORMATS.items():
        if head.startswith(magic):
            detail = f"{name} is not read; convert the file, such as to PNG, FLAC or MP4"
            return Reject(RejectCode.UNSUPPORTED_CODEC, detail)
    return None


def content_sha256(path: str, max_file_bytes: int) -> str | Reject:
    """Hex digest of a file's content, or why the file is not read.

    Raises:
        OSError: the disk or network failed.
    """
    if reject := check_file(path, max_file_bytes):
        return reject
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_head(path: str, num_bytes: int = 64) -> bytes:
    """The first bytes of the file."""
    with pathlib.Path(path).open("rb") as file:
        return file.read(num_bytes)


def image_format(head: bytes) -> str | None:
    """Pillow's name of the image format that the first bytes announce, or None."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return "AVIF"
    for magic, name in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"II*\x00", "TIFF"),
        (b"MM\x00*", "TIFF"),
    ):
        if head.startswith(magic):
            return name
    # "BM" alone is too short to trust; a bitmap also says how long its second header is.
    if head.startswith(b"BM") and head[14:18] in (struct.pack("<I", n) for n in (12, 40, 108, 124)):
        return "BMP"
    return None


def is_known_container(head: bytes) -> bool:
    """Whether the first bytes are those of a container of sound or moving pictures."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] in (b"WAVE", b"AVI ")
    magics = (b"\x1aE\xdf\xa3", b"OggS", b"fLaC", b"FLV\x01", b"ID3", b"FORM", b"\x00\x00\x01\xba")
    return head.startswith(magics)


def truncation(path: str) -> Reject | None:
    """Rejects a file whose own length fields point past its end (ISO media, WAVE, AVI).

    Unknown boxes after the known ones are left alone: players ignore bytes appended to a file.
    """
    size_bytes = os.path.getsize(path)
    with pathlib.Path(path).open("rb") as file:
        head = file.read(16)
        if head[4:8] in MP4_BOXES:
            return _mp4_truncation(file, size_bytes)
        if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
            return _wave_truncation(file, size_bytes)
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _overrun("RIFF", 8, struct.unpack("<I", head[4:8])[0], size_bytes)
    return None


def _overrun(name: str, start: int, length: int, size_bytes: int) -> Reject | None:
    if start + length <= size_bytes + 1:  # an odd chunk may lack its last padding byte
        return None
    detail = f"{name} promises {length} bytes, {max(size_bytes - start, 0)} are there"
    return Reject(RejectCode.TRUNCATED, detail)


def _mp4_truncation(file, size_bytes: int) -> Reject | None:
    start, seen = 0, set()
    while start + 8 <= size_bytes:
        file.seek(start)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if name not in MP4_BOXES:
            return None
        seen.add(name)
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        if length == 0:  # to the end of the file
            return None
        if length < 8:
            return None
        if overrun := _overrun(name.decode(), start, length, size_bytes):
            return overrun
        start += length
    if not seen & {b"moov", b"moof", b"meta"}:
        return Reject(RejectCode.TRUNCATED, "the file ends before its index (moov)")
    return None


def wave_data_length(path: str) -> tuple[int, int] | None:
    """Start and stated length in bytes of a WAVE file's data chunk, or None without one."""
    with pathlib.Path(path).open("rb") as file:
        head = file.read(12)
        if not (head.startswith(b"RIFF") and head[8:12] == b"WAVE"):
            return None
        return _find_wave_data(file, os.path.getsize(path))


def _find_wave_data(file, size_bytes: int) -> tuple[int, int] | None:
    start = 12
    while start + 8 <= size_bytes:
        file.seek(start)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            return start + 8, length
        start += 8 + length + length % 2
    return None


def _wave_truncation(file, size_bytes: int) -> Reject | None:
    data = _find_wave_data(file, size_bytes)
    if data is None:
        file.seek(4)
        return _overrun("RIFF", 8, struct.unpack("<I", file.read(4))[0], size_bytes)
    if data[1] in _STREAMED_LENGTHS:
        return None
    return _overrun("the data chunk", data[0], data[1], size_bytes)


def length_warning(path: str) -> str | None:
    """A sentence when a WAVE file leaves its length open, as writers to a pipe do."""
    data = wave_data_length(path)
    if data is not None and data[1] in _STREAMED_LENGTHS:
        return f"the data length field is {data[1]:#x}: read to the end of the file"
    return None


def states_mp3_length(path: str) -> bool:
    """Whether an MP3 file has a Xing, Info or VBRI header, which state its length."""
    start = read_head(path, _XING_SEARCH_BYTES)
    return any(tag in start for tag in (b"Xing", b"Info", b"VBRI"))
