"""A JSON list of any length, entry by entry."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from mm_models.errors import UserError

_CHUNK_BYTES = 1 << 20
_BEHIND = tuple(" \t\r\n,]")
_BLANKS = re.compile(r"[ \t\r\n]*")


def json_entries(path: str, flag: str, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[Any]:
    """Yields the entries of the list that a file holds, local or URL; keeps few in memory.

    Args:
        path: JSON file.
        flag: of the command, for errors.
        chunk_bytes: how much is read at once.

    Raises:
        UserError: the file cannot be read, holds no list, or is damaged; it names the entry.
    """
    try:
        with files.open_read(path) as file:
            yield from _Entries(file, chunk_bytes)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{flag} {path} cannot be read: {error}") from error


class _Entries:
    """Entries of a list in an open file, of which a part is read, and of this a part is used."""

    def __init__(self, file: Any, chunk_bytes: int):
        self._file, self._chunk_bytes = file, chunk_bytes
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder(parse_constant=_refuse).raw_decode
        self._text, self._used, self._is_whole = "", 0, False

    def __iter__(self) -> Iterator[Any]:
        self._take("[", "it holds no list with an entry for each picture")
        if self._next_sign() == "]":
            self._used += 1
        else:
            place, sign = 0, ","
            while sign == ",":
                yield self._entry(place)
                sign = self._take(",]", f"not JSON: no comma or end behind entry {place}")
                place += 1
        if self._next_sign():
            raise ValueError("not JSON: something stands behind the list")

    def _take(self, signs: str, otherwise: str) -> str:
        """The next sign, which is one of these."""
        sign = self._next_sign()
        if not sign or sign not in signs:
            raise ValueError(otherwise)
        self._used += 1
        return sign

    def _next_sign(self) -> str:
        """The next sign that is not blank, which stays to be used; empty at the end of the file."""
        while True:
            self._used = _BLANKS.match(self._text, self._used).end()
            if self._used < len(self._text) or self._is_whole:
                return self._text[self._used : self._used + 1]
            self._read()

    def _entry(self, place: int) -> Any:
        self._next_sign()
        while True:
            try:
                value, end = self._parse(self._text, self._used)
            except json.JSONDecodeError as error:
                if self._is_whole:
                    raise ValueError(f"entry {place} is not JSON: {error.msg}") from error
            else:
                # The rest of a number may not be read yet.
                if self._text[end : end + 1] in _BEHIND or self._is_whole:
                    self._used = end
                    return value
            self._read()

    def _read(self) -> None:
        """Adds as much again as is not used yet, so that a long entry is not parsed too often."""
        unused = self._text[self._used :]
        content = self._file.read(max(self._chunk_bytes, len(unused)))
        self._is_whole = not content
        self._text, self._used = unused + self._decode(content, final=self._is_whole), 0


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")
