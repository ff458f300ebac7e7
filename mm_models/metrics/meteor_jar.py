"""METEOR 1.5 itself, run by Java."""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np

from mm_models.errors import UserError
from mm_models.metrics.ngrams import Words, flatten

_SEPARATOR = " ||| "


@dataclasses.dataclass(frozen=True)
class MeteorJar:
    """Where METEOR 1.5 is.

    Attributes:
        java: the program.
        jar: `meteor-1.5.jar`, with its `data/` beside it.
    """

    java: str
    jar: str

    def __call__(
        self, candidates: Sequence[Words], references: Sequence[Sequence[Words]]
    ) -> tuple[float, np.ndarray]:
        """English METEOR as the COCO caption toolkit computes it.

        Args:
            candidates: words of one caption an example.
            references: words of one or more captions for each example.

        Returns:
            The score of the whole set, from matches added up over the examples, and float64[
            examples] of each alone.

        Raises:
            UserError: an example without references, or Java fails.
        """
        flatten(candidates, references)
        command = [self.java, "-Xmx1G", "-jar", self.jar, "-", "-", "-stdio", "-l", "en", "-norm"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        ) as process:
            try:
                statistics = [
                    self._ask(process, ["SCORE", *map(_line, own), _line(candidate)])
                    for candidate, own in zip(candidates, references, strict=True)
                ]
                first = self._ask(process, ["EVAL", *statistics])
                rest = [self._answer(process) for _ in candidates]
            finally:
                process.kill()
                # What was not sent to a program that has ended raises once more when it is closed.
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
        *each, whole = (float(score) for score in [first, *rest])
        return whole, np.array(each, np.float64)

    def _ask(self, process: subprocess.Popen, parts: list[str]) -> str:
        try:
            process.stdin.write(_SEPARATOR.join(parts) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed() from error
        return self._answer(process)

    def _answer(self, process: subprocess.Popen) -> str:
        line = process.stdout.readline().strip()
        if not line:
            raise self._failed()
        return line

    def _failed(self) -> UserError:
        return UserError(
            f"METEOR ({self.java} -jar {self.jar}) ended without an answer; run that command to "
            "see why, or ask for meteor_light, which needs no Java"
        )


def find_meteor(jar: str = "") -> MeteorJar | None:
    """METEOR where Java is on the PATH and the jar is known, else None.

    Args:
        jar: path of the jar; empty looks for the one that the package pycocoevalcap carries.

    Raises:
        UserError: a path is given and there is no such file, or no Java to run it.
    """
    java = shutil.which("java")
    if jar:
        if not os.path.isfile(jar) or java is None:
            missing = f"no file {jar}" if java else "no java on the PATH"
            raise UserError(
                f"METEOR cannot run: {missing}; give both, or ask for meteor_light instead"
            )
        return MeteorJar(java, jar)
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or java is None:
        return None
    found = os.path.join(list(package.submodule_search_locations)[0], "meteor/meteor-1.5.jar")
    return MeteorJar(java, found) if os.path.isfile(found) else None


def _line(words: Words) -> str:
    return " ".join(words).replace("|||", "")
