"""What to say about files of weights that are not read."""

import os
import zipfile

_LFS = b"version https://git-lfs"


def explain(path: str) -> str:
    """One sentence for a UserError: what lies at `path`, and what to do about it."""
    if "://" in path:
        return (
            f"there is no TensorFlow checkpoint at {path}, and other formats are read from this "
            "machine alone; copy the file or folder here and give its path"
        )
    if os.path.isdir(path):
        return _explain_folder(path)
    if not os.path.isfile(path):
        return (
            f"there are no weights at {path}; give a file, a folder, or the common part of the "
            "names of a TensorFlow checkpoint's files"
        )
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(_LFS):
        return f"{path} is a pointer of Git LFS, not the weights; fetch it with `git lfs pull`"
    if start.startswith(b"\x80") or (zipfile.is_zipfile(path) and _has_pickle(path)):
        return (
            f"{path} is a pickle of torch, which can run code when it is read; save the model as "
            "safetensors (save_pretrained does) and give that"
        )
    return f"{path} is no format of weights that is read: TensorFlow, safetensors, npz or T5X"


def _explain_folder(path: str) -> str:
    names = sorted(os.listdir(path))
    if "manifest.ocdbt" in names or "_METADATA" in names:
        return (
            f"{path} is a tensorstore checkpoint, which is not read; save its parameters as .npz "
            "with the code base it comes from"
        )
    shown = ", ".join(names[:5]) or "nothing"
    return (
        f"the folder {path} holds {shown}, and no weights of a format that is read (TensorFlow, "
        "safetensors, npz or T5X)"
    )


def _has_pickle(path: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".pkl") for name in archive.namelist())
