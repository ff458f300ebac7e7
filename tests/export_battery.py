"""Checks that every exported system must pass."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from export.server.loaded import LoadedVersion, read_warmup_requests
from export.signatures.base import Arrays, Signatures
from export.signatures.fields import INPUT_KINDS, OUTPUT_KINDS
from export.version import layout

TOLERANCE = 1e-5


def check_export(signatures: Signatures, version: LoadedVersion) -> None:
    """Files, documentation, free batch axis, and rows that do not influence each other.

    That answers equal the checkpoint's is proven by the export itself, in a fresh process.
    """
    path = pathlib.Path(version.path)
    assert path.name == str(version.number)
    assert not [p for p in path.parent.iterdir() if p.name.startswith(layout.TEMPORARY_PREFIX)]
    names = set(version.signatures)
    assert names == {layout.DEFAULT_SIGNATURE, *signatures.docs()}
    warmed = read_warmup_requests(str(path))
    assert {request.model_spec.signature_name for request in warmed} == names
    assert version.batching is not None
    for name, requests in signatures.examples().items():
        _check_docs(signatures, version, name)
        assert version.signatures[name].has_rows, name
        _check_rows(version, name, requests[-1])


def _check_docs(signatures: Signatures, version: LoadedVersion, name: str) -> None:
    doc, signature = signatures.docs()[name], version.signatures[name]
    assert set(doc.inputs) == set(signature.inputs), name
    assert set(doc.outputs) == set(signature.outputs), name
    for key, told in (doc.inputs | doc.outputs).items():
        field = signature.inputs.get(key) or signature.outputs[key]
        assert told.kind in INPUT_KINDS | OUTPUT_KINDS and told.meaning, (name, key, told)
        assert told.dtype == field.dtype_name, (name, key, told)
        assert len(told.axes) == len(field.shape), (name, key, told)


def _check_rows(version: LoadedVersion, name: str, inputs: Mapping[str, np.ndarray]) -> None:
    """The whole batch, each row alone and the rows in reverse agree."""
    signature = version.signatures[name]
    whole = version.run(signature, inputs)
    reverse = version.run(signature, {key: value[::-1] for key, value in inputs.items()})
    num_rows = len(next(iter(inputs.values())))
    alone = [
        version.run(signature, {key: value[row : row + 1] for key, value in inputs.items()})
        for row in range(num_rows)
    ]
    for key, value in whole.items():
        assert len(value) == num_rows
        assert_close(value, reverse[key][::-1])
        assert_close(value, joined([row[key] for row in alone]))


def joined(rows: list[np.ndarray]) -> np.ndarray:
    """Rows that were asked for alone as one answer, which has room for the longest of them."""
    shape = np.max([row.shape for row in rows], axis=0)[1:]
    room = [
        [(0, 0), *((0, most - size) for most, size in zip(shape, row.shape[1:], strict=True))]
        for row in rows
    ]
    return np.concatenate(
        [np.pad(row, each) if row.ndim > 1 else row for row, each in zip(rows, room, strict=True)]
    )


def assert_close(answer: np.ndarray, expected: np.ndarray) -> None:
    """Equal strings and integers, floats within 1e-5, of numbers beyond 1 relative to them."""
    if np.asarray(expected).dtype.kind == "f":
        scale = np.maximum(1.0, np.abs(expected))
        np.testing.assert_allclose(answer / scale, expected / scale, atol=TOLERANCE, rtol=0)
    else:
        np.testing.assert_array_equal(answer, expected)


def unit_length(arrays: Arrays) -> None:
    """Every embedding has length 1."""
    for name, value in arrays.items():
        norms = tf.norm(value, axis=-1).numpy()
        np.testing.assert_allclose(norms, 1.0, atol=1e-5, rtol=1e-4, err_msg=name)
