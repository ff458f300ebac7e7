"""A text file, a sentence a line → manifest items without media."""

from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import split_of
from beam_pipelines.sources.account import Account, NoteCode
from mm_models.errors import UserError


def read_text_file(
    path: str, shares: dict[str, float], language: str = "", account: Account | None = None
) -> Iterator[dict[str, Any]]:
    """Yields an item for each line, whose caption it is; lines of white space are left out.

    Equal sentences share a split, so that none is on two sides. An item's id is the number of its
    line.

    Args:
        path: UTF-8 text, local or URL.
        shares: split → share of the sentences, summing to 1; a hash of the sentence draws.
        language: code that captions carry; empty for none.
        account: gets the number of empty lines.

    Raises:
        UserError: the file cannot be read, or is no UTF-8.
    """
    account = Account() if account is None else account
    carried = {"language": language} if language else {}
    number_empty = 0
    for number, line in enumerate(_lines(path), start=1):
        sentence = " ".join(line.split())
        if not sentence:
            number_empty += 1
            continue
        yield {
            "id": f"line-{number:08d}",
            "split": split_of({"id": sentence}, shares),
            "captions": [{"text": sentence, **carried}],
        }
    account.note(NoteCode.CUE_EMPTY, path, "lines without text", number_empty)


def _lines(path: str) -> Iterator[str]:
    try:
        with files.open_read(path) as file:
            for number, line in enumerate(file, start=1):
                yield _decoded(path, number, line)
    except (OSError, IsADirectoryError) as error:
        raise UserError(f"--text {path} cannot be read: {error}") from error


def _decoded(path: str, number: int, line: bytes) -> str:
    try:
        return line.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--text {path} line {number} is no UTF-8 text; convert it") from error
