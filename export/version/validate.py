"""The proof of an export: a fresh process without our code gives the checkpoint's answers."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from export.signatures.fields import SignatureDoc
from mm_models.errors import UserError

TOLERANCE = 1e-5
# bfloat16 keeps 8 bits: the graph may fuse and round where the eager model does not.
BFLOAT16_TOLERANCE = 2e-2
TIMEOUT_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Proof:
    """Largest difference per `<signature>.<output>`, of numbers beyond 1 relative to them."""

    differences: dict[str, float]

    @property
    def largest(self) -> float:
        """Over everything compared."""
        return max(self.differences.values(), default=float("inf"))

    def table(self) -> str:
        """One line per output."""
        width = max(map(len, self.differences), default=0)
        return "\n".join(f"  {k:<{width}}  {v:.2e}" for k, v in sorted(self.differences.items()))


def prove(version_path: str, libraries: list[str], tolerance: float = TOLERANCE) -> Proof:
    """Loads a SavedModel in an isolated interpreter and compares with its stored answers.

    Args:
        version_path: local directory with `assets.extra/golden.npz`.
        libraries: operation libraries to import there.
        tolerance: largest difference allowed, of numbers beyond 1 relative to them.

    Returns:
        The differences.

    Raises:
        UserError: it does not load, needs our code, or answers differently.
    """
    script = pathlib.Path(__file__).with_name("fresh_process.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    finished = subprocess.run(
        [sys.executable, "-I", str(script), str(version_path), *libraries],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        check=False,
    )
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{version_path} does not answer in a fresh process: {reason[:500]}")
    report = json.loads(finished.stdout.strip().splitlines()[-1])
    if report["imported"]:
        raise UserError(f"{version_path} imported {report['imported']} while loading")
    proof = Proof(report["differences"])
    if not proof.largest <= tolerance:
        raise UserError(
            f"{version_path} differs from the checkpoint by {proof.largest:.2e}, "
            f"more than {tolerance:.0e}:\n{proof.table()}"
        )
    return proof


def check_described(docs: Mapping[str, SignatureDoc], definitions: Mapping[str, Any]) -> None:
    """Checks that a graph takes and gives what clients are told.

    Args:
        docs: of each signature.
        definitions: SignatureDefs of the graph by signature name.

    Raises:
        UserError: another name, dtype or number of axes.
    """
    for name, doc in docs.items():
        definition = definitions[name]
        for told, made in ((doc.inputs, definition.inputs), (doc.outputs, definition.outputs)):
            described = {key: (field.dtype, len(field.axes)) for key, field in told.items()}
            found = {
                key: (tf.as_dtype(info.dtype).name, len(info.tensor_shape.dim))
                for key, info in made.items()
            }
            if described != found:
                raise UserError(
                    f"signature {name!r} has {found}, but is described as {described} (dtype and "
                    "number of axes); make docs() and functions() of its class agree"
                )
