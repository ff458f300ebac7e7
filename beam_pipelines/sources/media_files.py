"""Which files are media, and which of them a table or an annotation file means."""

import os
import pathlib

from beam_pipelines import files
from beam_pipelines.items import schema
from beam_pipelines.media import structure
from beam_pipelines.rejects import Reject, RejectCode

_VIDEO = (
    "mp4 m4v mov qt psp mj2 3gp 3g2 3gp2 f4v ism ismv mkv mk3d webm avi divx flv kux asf wmv ts "
    "mts m2t m2ts mpg mpeg mpe m1v m2v mpv vob ogv ogm mxf gxf nut rm ra ivr rmvb dv dif ivf obu "
    "h264 h26l 264 avc h265 hevc 265 gif"
)
_AUDIO = (
    "wav wave w64 mp3 mp2 mpa m2a flac ogg oga opus spx m4a m4b isma aac adts aif aiff aifc afc au "
    "snd caf ac3 eac3 ec3 amr ape apl mac wv tta tak voc wma mka"
)
_IMAGES = "jpg jpeg jpe jfif png apng bmp dib webp tif tiff avif avifs heic heif"
MEDIA_EXTENSIONS = frozenset(
    f".{word}" for kind in (_VIDEO, _AUDIO, _IMAGES) for word in kind.split()
)
# Downloaders put these before an id.
_ID_PREFIXES = ("", "Y", "v_", "video")
# Data sets put these before an id, and downloaders leave them out.
_SET_PREFIXES = ("v_",)


def extension(name: str) -> str:
    """Extension of a file name, in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def is_media(path: str) -> bool:
    """Whether a file is media by its name, or, where it is local, by its first bytes."""
    if extension(path) in MEDIA_EXTENSIONS:
        return True
    if files.is_remote(path) or not os.path.isfile(path):
        return False
    try:
        head = structure.read_head(path)
    except OSError:
        return False  # whether it can be read is for whoever needs it
    return structure.image_format(head) is not None or structure.is_known_container(head)


def unusable(folder: str, media: str, *, check_files: bool = True) -> Reject | None:
    """Why `media` cannot be used, or None.

    Args:
        folder: what `media` is relative to, local or URL.
        media: path or URL; the rule is that of a manifest.
        check_files: whether a local file must be there.
    """
    try:
        schema.media_path(media, "media")
    except schema.SchemaError as error:
        return Reject(RejectCode.BAD_METADATA, str(error))
    local = files.join(folder, media)
    if check_files and not files.is_remote(local) and not os.path.isfile(local):
        return Reject(RejectCode.FILE_MISSING, f"{media} is missing")
    return None


class MediaById:
    """Media files of a folder by the id in their names, as downloaders write them."""

    def __init__(self, folder: str):
        self._folder = folder.rstrip("/")
        self._by_stem: dict[str, str] | None = None

    def find(self, name: str, span: tuple[float, float] | None) -> tuple[str, bool] | None:
        """(path relative to the folder, whether the file is the span itself), or None.

        Args:
            name: id of a video, such as `9bZkp7q19f0`.
            span: start and end in seconds of the part that is meant; downloaders that cut write
                them behind the id.
        """
        stems = self._stems()
        bare = [name[len(prefix) :] for prefix in _SET_PREFIXES if name.startswith(prefix)]
        for stem in [f"{prefix}{name}" for prefix in _ID_PREFIXES] + bare:
            for cut in _span_suffixes(span):
                if (found := stems.get(f"{stem}{cut}")) is not None:
                    return found, True
            if (found := stems.get(stem)) is not None:
                return found, False
        return None

    def _stems(self) -> dict[str, str]:
        if self._by_stem is None:
            self._by_stem = {}
            for path, _ in files.list_files(self._folder):
                if extension(path) in MEDIA_EXTENSIONS:
                    self._by_stem.setdefault(
                        pathlib.PurePosixPath(path).stem, path[len(self._folder) + 1 :]
                    )
        return self._by_stem


def _span_suffixes(span: tuple[float, float] | None) -> list[str]:
    """What stands behind an id in the name of a file that was cut to a span."""
    if span is None:
        return []
    start, end = span
    pairs = [
        (f"{int(start):06d}", f"{int(end):06d}"),
        (f"{start:g}", f"{end:g}"),
        (f"{start:.1f}", f"{end:.1f}"),
        (f"{start:.3f}", f"{end:.3f}"),
        (f"{round(start * 1000)}", f"{round(end * 1000)}"),
    ]
    return [f"{dash}{first}{dash}{last}" for first, last in pairs for dash in "_-"]
