"""Boxes as text: coordinates in bins, then the class, object by object.

Source: PaLI, section 3.3, in the manner of Pix2Seq.
"""

import dataclasses
import re
from collections.abc import Sequence

from mm_models.errors import UserError

_COORDINATES = ("y0", "x0", "y1", "x1")
_FIELDS = (*_COORDINATES, "label")


@dataclasses.dataclass(frozen=True)
class DetectionFormat:
    """How a list of objects is written.

    Attributes:
        object: text of one object with the slots y0, x0, y1, x1 and label.
        separator: what stands between two objects.
        bins: coordinates are whole numbers from 0 to `bins - 1`, for 0 to 1 of height or width.
    """

    object: str = "{y0} {x0} {y1} {x1} {label}"
    separator: str = " ; "
    bins: int = 1000

    def check(self, name: str) -> None:
        """Raises UserError where the format cannot be read back. `name` says where it stands."""
        slots = re.findall(r"{(\w*)}", self.object)
        if sorted(slots) != sorted(_FIELDS):
            raise UserError(
                f"{name}.object is {self.object!r}; it must have the slots {', '.join(_FIELDS)}, "
                "each once"
            )
        if not self.separator.strip():
            raise UserError(f"{name}.separator is {self.separator!r}; use a visible mark")
        if self.bins < 2:
            raise UserError(f"{name}.bins is {self.bins}; use at least 2")

    def write(self, boxes_yxyx_norm: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
        """Text of boxes float[objects, 4] in [0, 1] and their class names."""
        written = []
        for box, label in zip(boxes_yxyx_norm, labels, strict=True):
            edges = [round(min(max(float(edge), 0.0), 1.0) * (self.bins - 1)) for edge in box]
            fields = dict(zip(_COORDINATES, edges, strict=True))
            written.append(self.object.format(label=label, **fields))
        return self.separator.join(written)

    def read(self, text: str) -> list[tuple[tuple[float, float, float, float], str]]:
        """Boxes (y0, x0, y1, x1) in [0, 1] and classes of a text; what has no such form is left
        out."""
        pattern = re.compile(self._pattern())
        found = []
        for part in text.split(self.separator.strip()):
            match = pattern.fullmatch(part.strip())
            if match:
                edges = tuple(int(match[name]) / (self.bins - 1) for name in _COORDINATES)
                found.append((edges, match["label"].strip()))
        return found

    def _pattern(self) -> str:
        parts = re.split(r"{(\w+)}", self.object)
        for place, part in enumerate(parts):
            if place % 2 == 0:
                parts[place] = re.escape(part)
            else:
                parts[place] = f"(?P<{part}>{'.+' if part == 'label' else '[0-9]+'})"
        return "".join(parts).strip()
