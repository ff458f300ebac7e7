"""What the doctor says."""

import dataclasses
import enum
import functools
from collections.abc import Iterable, Iterator


class Level(enum.StrEnum):
    """How bad a finding is; only `problem` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: how bad it is.
        subject: what was looked at.
        message: what was found.
        remedy: what to do; empty where there is nothing to do.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""

    def line(self) -> str:
        """For the terminal."""
        text = f"[{self.level.value:<7}] {self.subject}: {self.message}"
        return f"{text} → {self.remedy}" if self.remedy else text


# Nothing to do; worth knowing; something is wrong.
ok = functools.partial(Finding, Level.OK)
note = functools.partial(Finding, Level.NOTE)
problem = functools.partial(Finding, Level.PROBLEM)


def left_over(folder: str, names: Iterable[str], what: str = "files") -> Iterator[Finding]:
    """A note about temporary files or folders that an interrupted command left, if there are any.

    Args:
        folder: where they are.
        names: of them.
        what: `files` or `folders`.
    """
    if found := sorted(names):
        yield note(folder, f"left-over temporary {what} {found[:3]}", "delete them")
