"""HDF5 files of stored features: which segments they hold, and what a segment is.

A file has a group for each video, in that a group for each segment, and in that the data sets
`features` and `caption`; another one, `image_id`, only links to references beside the files. Files
of videos with many captions have the mark `multi-caption`: their features lie in the segment `0`,
and the other segments have captions alone.

Source: R3 Transformer and its code (layout of the stored features).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from beam_pipelines import files
from mm_models.errors import UserError

MULTI_CAPTION, FIRST_SEGMENT = "multi-caption", "0"
FEATURES, CAPTION = "features", "caption"
_ENDINGS = (".h5", ".hdf5")
_SEGMENTS_PER_GROUP = 16


class Segment(NamedTuple):
    """One segment.

    Attributes:
        video, name: groups that it lies in.
        captions_of: segments of the same video whose captions are its own.
        is_duplicate: whether an earlier file has one of that name.
    """

    video: str
    name: str
    captions_of: tuple[str, ...]
    is_duplicate: bool = False

    @property
    def id(self) -> str:
        """`video/segment`."""
        return f"{self.video}/{self.name}"


class SegmentGroup(NamedTuple):
    """Some segments of a file, which belong to a split."""

    split: str
    path: str
    segments: tuple[Segment, ...]


def find_files(folder: str) -> list[str]:
    """Paths of the HDF5 files of a folder, sorted. Raises UserError where there are none."""
    try:
        listed = files.list_files(folder) if files.is_folder(folder) else []
    except OSError as error:
        raise UserError(f"--from_hdf5 {folder} cannot be read: {error}; check the path") from error
    found = [path for path, _ in listed if path.endswith(_ENDINGS)]
    if not found:
        raise UserError(
            f"--from_hdf5 {folder}: there are no {' or '.join(_ENDINGS)} files in that folder; "
            "name the folder of a split"
        )
    return found


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """An HDF5 file, open for reading. Raises UserError for anything else."""
    import h5py

    with files.local_copy(path) as local:
        try:
            file = h5py.File(local, "r")
        except OSError as error:
            raise UserError(
                f"{path} is no whole HDF5 file ({error}); fetch it again, or take it out of the "
                "folder"
            ) from error
        with file:
            yield file


def segment_groups(split: str, path: str, known: set[str]) -> list[SegmentGroup]:
    """The segments of a file in groups.

    Args:
        split: theirs.
        path: of the file.
        known: ids of earlier segments; is added to.

    Raises:
        UserError: it is no HDF5 file, or one of another layout.
    """
    with opened(path) as file:
        found = list(_segments(file))
    if not found:
        raise UserError(
            f"{path} holds no groups of videos with groups of segments; name files that hold "
            f"video/segment/{FEATURES}"
        )
    marked = []
    for segment in found:
        marked.append(segment._replace(is_duplicate=segment.id in known))
        known.add(segment.id)
    starts = range(0, len(marked), _SEGMENTS_PER_GROUP)
    parts = (marked[start : start + _SEGMENTS_PER_GROUP] for start in starts)
    return [SegmentGroup(split, path, tuple(part)) for part in parts]


def _segments(file: Any) -> Iterator[Segment]:
    import h5py

    has_many = MULTI_CAPTION in file.attrs or MULTI_CAPTION in file
    for video in sorted(file):
        if video == MULTI_CAPTION or not isinstance(file[video], h5py.Group):
            continue
        names = sorted(name for name, each in file[video].items() if isinstance(each, h5py.Group))
        if has_many and FIRST_SEGMENT in names:
            ordered = [FIRST_SEGMENT, *(name for name in names if name != FIRST_SEGMENT)]
            yield Segment(video, FIRST_SEGMENT, tuple(ordered))
        else:
            yield from (Segment(video, name, (name,)) for name in names)


def captions_of(video: Any, names: Sequence[str]) -> list[str]:
    """Captions of some segments of a video's group. Raises ValueError for what is no text."""
    captions: list[str] = []
    for name in names:
        if CAPTION not in video[name]:
            continue
        value = np.asarray(video[name][CAPTION][()])
        if value.dtype.kind not in "SUO":
            raise ValueError(f"{CAPTION} of segment {name} holds {value.dtype}, and no text")
        captions += [each.decode() if isinstance(each, bytes) else str(each) for each in value.flat]
    return captions
