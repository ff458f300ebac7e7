"""Lists of ids that say which pictures are in which split."""

import re
from collections.abc import Iterable
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.sources.table_columns import SPLIT_CELLS
from mm_models.errors import UserError


class SplitLists:
    """Splits of pictures, as files list them.

    A file is text, one id a line, with one word for a split in its name (`train.txt`,
    `vg_test.txt`), or JSON: an object with a list of ids under the name of each split. Ids are
    text; numbers are their decimals.
    """

    def __init__(self, paths: Iterable[str], flag: str):
        """Reads files, local or URLs. Raises UserError where one has neither form, or an id is in
        two splits."""
        self._flag = flag
        self._splits: dict[str, str] = {}
        for path in paths:
            for split, names in self._read(path).items():
                for name in names:
                    self._add(name, split, path)

    @property
    def names(self) -> dict[str, str]:
        """Split by id, in the order of the files."""
        return self._splits

    def split_of(self, name: str) -> str | None:
        """Split of a picture; None where no list has it."""
        return self._splits.get(name)

    def _add(self, name: str, split: str, path: str) -> None:
        other = self._splits.setdefault(name, split)
        if other != split:
            raise UserError(
                f"{self._flag} {path} has {name} in {split}, and it is in {other} too; "
                "keep it in one of them"
            )

    def _read(self, path: str) -> dict[str, list[str]]:
        try:
            content = files.read_bytes(path)
            if not path.endswith(".json"):
                return {self._split_in(path): content.decode().split()}
            value = parse_line(content)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{self._flag} {path} cannot be read: {error}") from error
        return self._checked(path, value)

    def _split_in(self, path: str) -> str:
        words = re.split(r"[\W_]+", path.rsplit("/", 1)[-1].lower())
        found = {SPLIT_CELLS[word] for word in words if word in SPLIT_CELLS}
        if len(found) != 1:
            raise UserError(
                f"{self._flag} {path}: the name of a list says its split by one of the words "
                "train, val and test; rename it, or write JSON with a list under each split's name"
            )
        return found.pop()

    def _checked(self, path: str, value: Any) -> dict[str, list[str]]:
        lists: dict[str, list[str]] = {}
        for word, names in value.items() if isinstance(value, dict) else [("", value)]:
            split = SPLIT_CELLS.get(word.lower())
            if split is None or not isinstance(names, list):
                raise UserError(
                    f"{self._flag} {path}, field {word}: expected lists of ids under train, val "
                    "and test"
                )
            lists.setdefault(split, []).extend(map(str, names))
        return lists
