"""What the doctor says."""

import dataclasses
import enum


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


def ok(subject: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, subject, message)


def note(subject: str, message: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding(Level.NOTE, subject, message, remedy)


def problem(subject: str, message: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(Level.PROBLEM, subject, message, remedy)
