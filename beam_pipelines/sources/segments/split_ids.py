"""A file that says which videos are in which split."""

from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.table_columns import SPLIT_CELLS
from mm_models.errors import UserError


class SplitIds:
    """Splits of videos, as a file lists them.

    The file is a JSON object with a list of ids under the name of each split (`validation`,
    `testing`), or plain ids, one a line or as a JSON list: these are the test videos, and all
    others are for validation.
    """

    def __init__(self, path: str):
        """Reads `path`, local or URL. Raises UserError where it has neither form."""
        self._path = path
        try:
            content = files.read_bytes(path)
            text = content.decode()
            is_json = text.lstrip().startswith(("{", "["))
            value = parse_line(content) if is_json else text.split()
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"--split_ids {path} cannot be read: {error}") from error
        self._rest = "" if isinstance(value, dict) else "val"
        self._splits = self._read(value if isinstance(value, dict) else {"test": value})

    def split_of(self, name: str) -> str | Reject:
        """Split of a video."""
        found = self._splits.get(name, self._rest)
        detail = f"{self._path} names it in no split"
        return found or Reject(RejectCode.BAD_METADATA, detail)

    def _read(self, lists: dict[str, Any]) -> dict[str, str]:
        splits: dict[str, str] = {}
        for word, names in lists.items():
            split = SPLIT_CELLS.get(word.lower())
            is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
            if split is None or not is_list:
                raise UserError(
                    f"--split_ids {self._path}: {word!r} is not training, validation or testing "
                    "with a list of video ids"
                )
            for name in names:
                if splits.setdefault(name, split) != split:
                    raise UserError(
                        f"--split_ids {self._path} has {name} in both {splits[name]} and {split}"
                    )
        if not splits:
            raise UserError(f"--split_ids {self._path} names no videos")
        return splits
