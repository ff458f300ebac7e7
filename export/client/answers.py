"""Answers of a model about one file, as people or programs read them."""

import base64
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export.client.answer_kinds import answer_kind
from export.client.answer_tables import answer_tables
from export.client.answer_values import Answer
from export.client.questions import Question
from export.signatures.fields import SignatureDoc, docs_from_json
from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class Answers:
    """What signatures answered to one question.

    Attributes:
        docs: of the signatures that were asked.
        outputs: JSON values of the one row by `<signature>.<output>`.
        files: what is more than numbers and words, as files by name.
    """

    docs: Mapping[str, SignatureDoc]
    outputs: Mapping[str, Any]
    files: Mapping[str, bytes]


def collect(
    docs: Mapping[str, SignatureDoc],
    rows: Mapping[str, Mapping[str, np.ndarray]],
    frames: Sequence[bytes],
) -> Answers:
    """Answers from arrays.

    Args:
        docs: of the model's signatures.
        rows: one row of every output by the name of each signature that was asked.
        frames: files of the pictures that were asked about.
    """
    outputs: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for signature, row in rows.items():
        doc = docs[signature]
        for name, field in doc.outputs.items():
            kind, key = answer_kind(field), f"{signature}.{name}"
            outputs[key] = kind.json_value(np.asarray(row[name]), field)
            made = kind.files(Answer(name, doc, row, frames))
            files |= {f"{key}{ending}": content for ending, content in made.items()}
    return Answers({name: docs[name] for name in rows}, outputs, files)


def to_reply(answers: Answers) -> dict[str, Any]:
    """Answers as JSON holds them, files in base64."""
    return {
        "outputs": dict(answers.outputs),
        "files": {name: base64.b64encode(data).decode() for name, data in answers.files.items()},
        "signatures": {name: dataclasses.asdict(doc) for name, doc in answers.docs.items()},
    }


def from_reply(reply: Mapping[str, Any]) -> Answers:
    """The answers of which `to_reply` made `reply`."""
    files = {name: base64.b64decode(content) for name, content in reply["files"].items()}
    return Answers(docs_from_json(reply["signatures"]), reply["outputs"], files)


def check_output_dir(output_dir: str) -> None:
    """Raises UserError where files cannot be written to a folder of that name."""
    if not output_dir:
        return
    try:
        os.makedirs(output_dir, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output_dir={output_dir} cannot be made ({error.strerror}); give another folder"
        ) from None


def write_files(files: Mapping[str, bytes], output_dir: str) -> dict[str, str]:
    """Writes files, each of which appears whole; their paths by name."""
    paths = {}
    for name, content in files.items():
        # The name may come from a server, and must not lead out of the folder.
        inside = name.replace("/", "_")
        paths[name] = os.path.join(output_dir, inside)
        temporary = os.path.join(output_dir, f".tmp-{inside}")
        with open(temporary, "wb") as file:
            file.write(content)
        os.replace(temporary, paths[name])
    return paths


def print_answers(
    answers: Answers,
    question: Question,
    warnings: Sequence[str],
    *,
    as_json: bool = False,
    output_dir: str = "",
    others: Mapping[str, Any] | None = None,
) -> None:
    """Writes the files and prints the rest, as lines and tables or as JSON.

    Args:
        answers: what was answered.
        question: what was asked; its sentences and labels are in the order of their scores.
        warnings: of the decoder.
        as_json: print JSON.
        output_dir: folder for files; without one JSON holds them in base64.
        others: further entries of the JSON.
    """
    paths = write_files(answers.files, output_dir) if output_dir else {}
    if as_json:
        asked = {"texts": list(question.texts), "labels": list(question.labels)}
        words = {"prompt": question.prompt, "phrase": question.phrase}
        told = {name: value for name, value in words.items() if value}
        made = to_reply(answers)
        files = {"files": paths or made["files"]} if answers.files else {}
        notes = [*warnings, *_notes(answers, question)]
        result = {**asked, **told, "outputs": made["outputs"], **files, "warnings": notes}
        print(json.dumps(result | dict(others or {})))
        return
    for warning in [*warnings, *_notes(answers, question)]:
        print(f"note: {warning}")
    for line in _lines(answers):
        print(line)
    for signature, doc in answers.docs.items():
        values = {name: answers.outputs[f"{signature}.{name}"] for name in doc.outputs}
        for table in answer_tables(signature, doc, values, question):
            print(f"\n{table}")
    for path in paths.values():
        print(f"wrote {path}")
    if answers.files and not output_dir:
        print(f"--output_dir writes {', '.join(answers.files)}")


def _notes(answers: Answers, question: Question) -> list[str]:
    return [
        note
        for signature, doc in answers.docs.items()
        for name, field in doc.outputs.items()
        for note in answer_kind(field).notes(
            answers.outputs[f"{signature}.{name}"], field, question
        )
    ]


def _lines(answers: Answers) -> list[str]:
    """A line for each output that belongs to no table."""
    found = []
    for signature, doc in answers.docs.items():
        for name, field in doc.outputs.items():
            kind, key = answer_kind(field), f"{signature}.{name}"
            line = "" if kind.rows else kind.line(answers.outputs[key], field)
            found += [f"{key:<28} {line}"] if line else []
    return found
