"""An export: every version loads, is complete, and answers as its checkpoint did."""

import posixpath
from collections.abc import Iterator

import tensorflow as tf

from export.doctor.findings import Finding, left_over, note, ok, problem
from export.server.loaded import LoadedVersion
from export.version import layout, validate
from export.version.model_info import read_model_info
from mm_models.errors import UserError

EXPORT_AGAIN = "run `mmstack export` again"


def check_export(export_dir: str, *, proof: bool = True) -> Iterator[Finding]:
    """Findings about a folder of numbered versions.

    Args:
        export_dir: written by `mmstack export`.
        proof: also run the stored requests in a fresh process (local folders only).
    """
    try:
        names = [name.rstrip("/") for name in tf.io.gfile.listdir(export_dir)]
    except tf.errors.OpError:
        names = []
    versions = [name for name in names if layout.version_number(name) is not None]
    if not versions:
        yield problem(export_dir, "no numbered version", EXPORT_AGAIN)
        return
    for name in sorted(versions, key=layout.version_number):
        yield from _check_version(posixpath.join(export_dir, name), proof)
    unfinished = [name for name in names if name.startswith(layout.TEMPORARY_PREFIX)]
    yield from left_over(export_dir, unfinished, "folders")


def _check_version(path: str, proof: bool) -> Iterator[Finding]:
    try:
        version = LoadedVersion("model", 0, path)
        info = read_model_info(path)
    except (UserError, tf.errors.OpError, OSError, ValueError) as error:
        yield problem(path, str(error).splitlines()[0][:300], EXPORT_AGAIN)
        return
    except Exception as error:
        yield problem(path, f"does not load ({type(error).__name__})", EXPORT_AGAIN)
        return
    yield ok(path, f"{len(version.signatures)} signatures, step {info.step}")
    extra = posixpath.join(path, layout.ASSETS_EXTRA)
    for file, lacking in (
        (layout.WARMUP_FILE, "the first requests will be slow"),
        (layout.GOLDEN_FILE, "its answers cannot be checked"),
    ):
        if not tf.io.gfile.exists(posixpath.join(extra, file)):
            yield note(path, f"no {file}: {lacking}", EXPORT_AGAIN)
            proof = proof and file != layout.GOLDEN_FILE
    if proof and "://" not in path:
        try:
            largest = validate.prove(path, info.op_libraries, validate.BFLOAT16_TOLERANCE).largest
            yield ok(path, f"answers as its checkpoint did, largest difference {largest:.1e}")
        except UserError as error:
            yield problem(path, str(error).splitlines()[0], EXPORT_AGAIN)
