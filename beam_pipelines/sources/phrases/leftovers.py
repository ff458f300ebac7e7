"""What adapters of phrases leave out, counted by kind."""

import collections

from beam_pipelines.sources.account import Account, NoteCode


class LeftOut:
    """Counts of what was left out of a source, which become one note for each kind."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()

    def count(self, what: str, number: int = 1) -> None:
        """Counts something that was left out."""
        self._counts[what] += number

    def account_for(self, account: Account, source: str) -> None:
        """Notes all that was counted."""
        for what, number in sorted(self._counts.items()):
            account.note(NoteCode.ROW_LEFT_OUT, source, what, number)
