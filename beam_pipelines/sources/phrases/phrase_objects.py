"""Phrases and their boxes in one still picture → the objects of a manifest item."""

from typing import Any

Box = tuple[float, float, float, float]
Phrase = dict[str, Any]


def box_in_picture(
    left: float, top: float, right: float, bottom: float, *, height: float, width: float
) -> Box | None:
    """A box in pixels as y0, x0, y1, x1 in shares of the picture, cut to it.

    None where nothing of it lies in the picture.
    """
    edges = (top / height, left / width, bottom / height, right / width)
    y0, x0, y1, x1 = (round(min(max(edge, 0.0), 1.0), 5) for edge in edges)
    return (y0, x0, y1, x1) if y0 < y1 and x0 < x1 else None


def still_track(box_yxyx_norm: Box) -> list[dict[str, Any]]:
    """The manifest's track of a box in a picture."""
    return [{"time_seconds": 0.0, "box_yxyx_norm": list(box_yxyx_norm)}]


class LabelNumbers:
    """Numbers of labels, in the order in which they are first asked for."""

    def __init__(self, known: dict[str, int] | None = None):
        """Begins with `known` numbers; the next label comes behind the largest of them."""
        self._numbers = dict(known or {})
        self._next = max(self._numbers.values(), default=-1) + 1

    def label(self, text: str) -> dict[str, Any]:
        """The manifest's label."""
        if text not in self._numbers:
            self._numbers[text] = self._next
            self._next += 1
        return {"index": self._numbers[text], "text": text}


class PhraseObjects:
    """The objects of one picture: one for each different box of a label.

    What has no box is an object without a track, one for each different name of a label.
    """

    def __init__(self, labels: LabelNumbers):
        self._labels = labels
        self._entries: dict[tuple, dict[str, Any]] = {}

    def add(
        self, phrase: Phrase | None, boxes_yxyx_norm: list[Box], label: str = "", name: str = ""
    ) -> None:
        """Adds a phrase to the objects that it means, or objects that no phrase means.

        Args:
            phrase: the manifest's phrase; None adds only the objects.
            boxes_yxyx_norm: boxes of what is meant; none where it cannot be found in the picture.
            label: category; empty for none.
            name: tells objects without a box apart.
        """
        for key in [(label, *box) for box in boxes_yxyx_norm] or [(label, name)]:
            entry = self._entries.setdefault(key, self._entry(label, key[1:]))
            if phrase is not None and phrase not in entry["phrases"]:
                entry["phrases"].append(phrase)

    def _entry(self, label: str, place: tuple) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": len(self._entries), "phrases": []}
        if label:
            entry["label"] = self._labels.label(label)
        if len(place) > 1:  # A box, not a name.
            entry["track"] = still_track(place)
        return entry

    def entries(self) -> list[dict[str, Any]]:
        """The manifest's objects, in the order in which they came."""
        return [
            {key: value for key, value in entry.items() if key != "phrases" or value}
            for entry in self._entries.values()
        ]
