"""What to say about files of weights that are not read."""

import os
import tarfile
import zipfile

_SAFETENSORS = "save the model as safetensors (save_pretrained does) and give that"
# What a file may begin with: its name, and the remedy.
_STARTS = {
    b"version https://git-lfs": (
        "is a pointer of Git LFS, not the weights",
        "fetch it with `git lfs pull`",
    ),
    b"\x80": ("is a pickle of torch, which can run code when it is read", _SAFETENSORS),
    b"\x89HDF\r\n\x1a\n": ("is HDF5 (.h5) of Keras or TensorFlow", _SAFETENSORS),
    b"GGUF": ("is GGUF, whose weights are quantised", "give the weights that it was made from"),
    b"\x1f\x8b": ("is compressed with gzip", "unpack it and give what is inside"),
    b"\xfd7zXZ": ("is compressed with xz", "unpack it and give what is inside"),
    b"BZh": ("is compressed with bzip2", "unpack it and give what is inside"),
}
# What a folder may hold, by the end of a name.
_MEMBERS = {
    "flax_model.msgpack": "weights of Flax under transformers' names",
    "tf_model.h5": "weights as HDF5 of TensorFlow",
    ".bin": "weights as pickles of torch, which can run code when they are read",
    ".pt": "weights as pickles of torch, which can run code when they are read",
    ".pth": "weights as pickles of torch, which can run code when they are read",
    ".gguf": "quantised weights as GGUF",
    ".onnx": "a graph as ONNX",
}


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
    for mark, (what, remedy) in _STARTS.items():
        if start.startswith(mark):
            return f"{path} {what}; {remedy}"
    if zipfile.is_zipfile(path):
        return f"{path} {_explain_archive(path)}"
    if tarfile.is_tarfile(path):
        return f"{path} is a tar archive; unpack it and give what is inside"
    if path.endswith((".safetensors", ".npz")):
        return f"{path} is damaged: it does not begin as such a file does; download it again"
    return (
        f"{path} is no format of weights that is read: TensorFlow, safetensors, npz, T5X or OCDBT"
    )


def _explain_folder(path: str) -> str:
    names = sorted(os.listdir(path))
    if "config.yaml" in names and "checkpoints" in names:
        return (
            f"the folder {path} is a run of mmstack; to start from it, name it in "
            "initialize.<name>.model_dir of the new run's config"
        )
    if "saved_model.pb" in names:
        return (
            f"the folder {path} is a SavedModel, which is not read; give the checkpoint that it "
            "was made from"
        )
    for ending, what in _MEMBERS.items():
        for name in names:
            if name.endswith(ending):
                return f"the folder {path} holds {name}, {what}; {_SAFETENSORS}"
    if inner := [name for name in names if os.path.isfile(f"{path}/{name}/checkpoint")]:
        return f"the folder {path} holds folders with checkpoints; give {path}/{inner[-1]}"
    if inner := [name for name in names if name.endswith(".index")]:
        return f"the folder {path} holds TensorFlow checkpoints; give {path}/{inner[-1][:-6]}"
    if inner := [name for name in names if name.endswith(".npz")]:
        return f"the folder {path} holds {inner[0]}; give the path of the file"
    shown = ", ".join(names[:5]) or "nothing"
    return (
        f"the folder {path} holds {shown}, and no weights of a format that is read (TensorFlow, "
        "safetensors, npz, T5X or OCDBT)"
    )


def _explain_archive(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, LookupError, OSError, NotImplementedError) as error:
        return f"is a damaged zip archive ({error}); download it again"
    if any(name.endswith(".pkl") for name in names):
        return f"is a pickle of torch, which can run code when it is read; {_SAFETENSORS}"
    if "model.weights.h5" in names:
        return "is a model of Keras (.keras), which is not read; save its arrays as .npz"
    return f"is a zip archive, and no format of weights that is read; it holds {names[:3]}"
