"""Writes a numbered version: SavedModel, warm-up, documentation, proof, then the rename."""

import dataclasses
import os
import pathlib
import secrets
import shutil
import tempfile

import tensorflow as tf

from export.signatures.base import Signatures
from export.version import golden, layout, model_card, op_policy, validate, warmup
from export.version.batching_parameters import BatchingParameters
from export.version.model_info import ModelInfo
from mm_models.errors import UserError

# A graph beyond this holds weights as constants; protobuf ends at 2 GiB.
MAX_GRAPH_BYTES = 256 * 2**20


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: version directory.
        info: facts, operation libraries included.
        proof: differences from the checkpoint.
        size_bytes: of all files.
    """

    path: str
    info: ModelInfo
    proof: validate.Proof
    size_bytes: int


def export_version(
    signatures: Signatures,
    base_path: str,
    *,
    name: str,
    version: int | None = None,
    batching: BatchingParameters | None = None,
    tolerance: float = validate.TOLERANCE,
) -> Exported:
    """Writes `<base_path>/<version>`, which appears whole and proven or not at all.

    Args:
        signatures: the trained model.
        base_path: folder of numbered versions; may be a remote URL.
        name: model name in the documentation and the warm-up requests.
        version: None takes the next number.
        batching: parameters file; None takes the defaults.
        tolerance: largest difference from the checkpoint, of numbers beyond 1 relative to them.

    Raises:
        UserError: the version exists or appears meanwhile, the folder cannot be written, or the
            proof fails.
    """
    version = check_target(base_path, version)
    remote = "://" in base_path
    parent = tempfile.mkdtemp(prefix="mmstack-export-") if remote else base_path
    work = os.path.join(parent, f"{layout.TEMPORARY_PREFIX}{version}-{secrets.token_hex(16)}")
    try:
        info = _write(signatures, work, name, batching or BatchingParameters())
        proof = validate.prove(work, info.op_libraries, tolerance)
        size_bytes = sum(file.stat().st_size for file in _files(work))
        target = os.path.join(base_path, str(version))
        if tf.io.gfile.exists(target):
            raise UserError(f"{target} was written by another export meanwhile; run it again")
        if remote:
            publish(work, base_path, version)
        else:
            os.rename(work, target)
    finally:
        shutil.rmtree(parent if remote else work, ignore_errors=True)
    return Exported(target, info, proof, size_bytes)


def check_target(base_path: str, version: int | None) -> int:
    """The version to write, once the folder is there and writable.

    Raises:
        UserError: the version exists, or the folder cannot be made or written.
    """
    probe = os.path.join(base_path, f"{layout.TEMPORARY_PREFIX}probe-{secrets.token_hex(16)}")
    try:
        tf.io.gfile.makedirs(base_path)
        names = tf.io.gfile.listdir(base_path)
        with tf.io.gfile.GFile(probe, "w") as file:
            file.write("writable")
        tf.io.gfile.remove(probe)
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, "message", str(error)).splitlines()[0]
        raise UserError(f"--output={base_path} cannot be written ({reason})") from None
    numbers = [layout.version_number(entry.rstrip("/")) for entry in names]
    present = [number for number in numbers if number is not None]
    if version is None:
        return max(present, default=0) + 1
    if version < 1:
        raise UserError(f"--version={version} must be at least 1")
    if version in present:
        raise UserError(
            f"--output={base_path} already holds version {version}; "
            "leave --version out to take the next number"
        )
    return version


def _write(signatures: Signatures, path: str, name: str, batching: BatchingParameters) -> ModelInfo:
    examples = signatures.examples()
    # Nobody trains a served graph: gradients would only make it larger and slower to write.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(signatures.module, path, signatures.functions(), options)
    info = _checked_info(signatures, path)
    golden.write_golden(path, signatures, examples)
    # The default signature is a call of its own in a server, and has its own first time.
    default = {layout.DEFAULT_SIGNATURE: examples[signatures.default_name]}
    warmup.write_warmup_requests(path, name, examples | default)
    extra = pathlib.Path(path, layout.ASSETS_EXTRA)
    pathlib.Path(path, layout.BATCHING_FILE).write_text(batching.to_text(), "utf-8")
    (extra / layout.MODEL_INFO_FILE).write_text(info.to_json(), "utf-8")
    card = model_card.model_card(name, info, signatures)
    (extra / layout.MODEL_CARD_FILE).write_text(card, "utf-8")
    documentation = model_card.signature_docs(name, info, signatures)
    (extra / layout.SIGNATURE_DOCS_FILE).write_text(documentation, "utf-8")
    (extra / layout.EXAMPLE_FOLDER).mkdir()
    for file_name, content in signatures.example_files().items():
        (extra / layout.EXAMPLE_FOLDER / file_name).write_bytes(content)
    return info


def _checked_info(signatures: Signatures, path: str) -> ModelInfo:
    from export.server.loaded import read_saved_model

    graph_bytes = os.path.getsize(os.path.join(path, "saved_model.pb"))
    if graph_bytes > MAX_GRAPH_BYTES:
        raise UserError(
            f"the graph takes {graph_bytes} bytes, the limit is {MAX_GRAPH_BYTES}: "
            "weights must be variables, not constants"
        )
    proto = read_saved_model(path)
    report = op_policy.check_ops(proto, path)
    docs = signatures.docs()
    validate.check_described(docs, proto.meta_graphs[0].signature_def)
    return dataclasses.replace(
        signatures.info,
        signatures=docs,
        op_libraries=list(report.libraries),
        custom_ops=list(report.custom_ops),
    )


def _files(path: str) -> list[pathlib.Path]:
    return [found for found in pathlib.Path(path).rglob("*") if found.is_file()]


def publish(source: str, base_path: str, version: int) -> None:
    """Copies a finished local version to a remote folder.

    Object stores rename by copying file after file, so `saved_model.pb`, without which a server
    ignores the directory, goes last.

    Args:
        source: local version directory.
        base_path, version: URL of the folder of versions, and the number there.
    """
    target = os.path.join(base_path, str(version))
    for file in sorted(_files(source), key=lambda file: file.name == "saved_model.pb"):
        copy = os.path.join(target, file.relative_to(source))
        tf.io.gfile.makedirs(os.path.dirname(copy))
        tf.io.gfile.copy(str(file), copy, overwrite=True)
