"""Whether a media path that a table or an annotation file names can be used."""

import os
import posixpath

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode


def unusable(folder: str, media: str, *, check_files: bool = True) -> Reject | None:
    """Why `media` cannot be used, or None.

    Args:
        folder: what `media` is relative to, local or URL.
        media: path or URL.
        check_files: whether a local file must be there.
    """
    if not media or not media.isprintable():
        return Reject(RejectCode.BAD_METADATA, f"media path {media!r} is empty or not printable")
    if not files.is_remote(media) and posixpath.normpath(media).startswith(("..", "/")):
        return Reject(RejectCode.BAD_METADATA, f"media path {media} leaves the table's folder")
    local = files.join(folder, media)
    if check_files and not files.is_remote(local) and not os.path.isfile(local):
        return Reject(RejectCode.FILE_MISSING, f"{media} is missing")
    return None
