"""TIFF files of integer samples as measuring programs write them, for the tests of pictures."""

import struct

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, ROWS, BYTES, SAMPLE_FORMAT = 277, 278, 279, 339
MAXIMUM = 281
_UNSIGNED, _SIGNED = 1, 2
_SHORT, _LONG = 3, 4


def write_tiff(path, values, *, white_is_zero=False, tags=None):
    """Writes int or uint[height, width] or [height, width, 3] uncompressed, with further tags."""
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    samples = values.shape[2] if values.ndim == 3 else 1
    kind = _SIGNED if values.dtype.kind == "i" else _UNSIGNED
    photometric = 2 if samples == 3 else int(not white_is_zero)
    entries = {
        WIDTH: [values.shape[1]],
        HEIGHT: [values.shape[0]],
        BITS: [values.dtype.itemsize * 8] * samples,
        COMPRESSION: [1],
        PHOTOMETRIC: [photometric],
        OFFSETS: None,
        SAMPLES: [samples],
        ROWS: [values.shape[0]],
        BYTES: [len(data)],
        SAMPLE_FORMAT: [kind] * samples,
    } | {tag: [value] for tag, value in (tags or {}).items()}
    after = 8 + 2 + 12 * len(entries) + 4
    lists = b""
    directory = struct.pack("<H", len(entries))
    num_listed = sum(2 * len(e) for e in entries.values() if e and len(e) > 2)
    for tag, entry in sorted(entries.items()):
        if entry is None:
            directory += struct.pack("<HHII", tag, _LONG, 1, after + num_listed)
        elif len(entry) > 2:
            directory += struct.pack("<HHII", tag, _SHORT, len(entry), after + len(lists))
            lists += struct.pack(f"<{len(entry)}H", *entry)
        else:
            directory += struct.pack("<HHII", tag, _LONG, 1, entry[0])
    header = b"II*\0" + struct.pack("<I", 8)
    path.write_bytes(header + directory + struct.pack("<I", 0) + lists + data)
