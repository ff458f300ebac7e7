"""The commands that documents and the headers of configs print, and what tests do with each."""

import dataclasses
import pathlib
import re
import shlex

from tests.repository.source_tree import ROOT

PROGRAMS = ("mmstack", "make", "pip", "pytest", "python", "tensorboard", "curl")
ONLY_PARSED = "# tests only parse this: "
SHORTENED = "# tests run a shorter form: "
DOCUMENTS = [
    *(ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))),
    *sorted((ROOT / "mm_models").glob("*/README.md")),
]


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of shell commands.

    Attributes:
        language: of the fence.
        note: its first line, where that says what tests do with it.
        commands: words of each command, without comments.
    """

    language: str
    note: str
    commands: list[list[str]]


def blocks(path: pathlib.Path) -> list[Block]:
    """The blocks of a document that have commands: every line of `sh`, or those behind `$`."""
    found = []
    text = path.read_text(encoding="utf-8")
    for _, language, body in re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.S | re.M):
        lines = body.replace("\\\n", "").splitlines()
        lines = [line.strip() for line in lines if line.strip()]
        note = lines[0] if lines and lines[0].startswith((ONLY_PARSED, SHORTENED)) else ""
        printed = [line.removeprefix("$ ") for line in lines if _is_command(line, language)]
        commands = [shlex.split(line, comments=True) for line in printed]
        if any(commands):
            found.append(Block(language, note, [words for words in commands if words]))
    return found


def _is_command(line: str, language: str) -> bool:
    if language == "sh" or line.startswith("$ "):
        return True
    # Such a line in another block would be run by no test.
    return not language and line.startswith(tuple(f"{program} " for program in PROGRAMS))


def header_commands(path: pathlib.Path) -> list[list[str]]:
    """The commands in the header of a config, which may go on in the next line."""
    header = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        header.append(line.lstrip("# "))
    text = re.sub(r"\s+(?=--)", " ", "\n".join(header))
    return [
        shlex.split(found)
        for found in re.findall(r"(?<!`)(mmstack \w+ --[^\n()]*[^\n()\s.;,])", text)
    ]
