"""Published VATT checkpoints into our models, and our weights back into that form."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.checkpoints.published import PublishedCheckpoint, write_checkpoint
from mm_models.checkpoints.vatt_keys import Entry, entries
from mm_models.errors import UserError
from mm_models.layers.positions import resample_table
from mm_models.vatt.encoders import VattEncoders

_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class MappingReport:
    """What an import found; keys as in the checkpoint, without their common suffix.

    Attributes:
        loaded: keys whose values were taken as they are.
        resized: keys of position tables with their rows there and here.
        skipped: keys that the model has and the checkpoint lacks; their weights stay as they were.
        unused: keys of the checkpoint for which the model has no place.
    """

    loaded: list[str]
    resized: dict[str, tuple[int, int]]
    skipped: list[str]
    unused: list[str]

    def __str__(self) -> str:
        resized = [f"{key} {there} -> {here} rows" for key, (there, here) in self.resized.items()]
        lists = {"skipped": self.skipped, "unused": self.unused}
        lines = [f"  loaded {len(self.loaded)}", f"  resized {len(self.resized)}"]
        lines += [f"    {line}" for line in resized]
        for title, keys in lists.items():
            lines.append(f"  {title} {len(keys)}")
            lines += [f"    {key}" for key in keys]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Every name, for a file beside the weights."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def import_weights(
    model: VattEncoders, checkpoint: PublishedCheckpoint, allow: Sequence[str] = ()
) -> MappingReport:
    """Assigns every weight that the checkpoint has.

    Args:
        model: VattModel or VattClassifier of the preset `reference_code`.
        checkpoint: opened.
        allow: regular expressions, searched in keys that may be skipped or left unused.

    Raises:
        UserError: a key is missing, has no place, or has another shape; nothing was assigned then.
    """
    places = entries(model)
    report = match(places, checkpoint.shapes, allow, checkpoint.path)
    for entry in places:
        if entry.key in report.skipped:
            continue
        value = np.asarray(checkpoint.value(entry.key))
        if entry.key in report.resized:
            value = resample_table(value, entry.shape[0])
        entry.variable.assign(value.reshape(entry.variable.shape))
    return report


def export_weights(model: VattEncoders, folder: str, step: int) -> str:
    """Writes a model as a published checkpoint and returns its path. Raises UserError."""
    values = {
        entry.key: np.asarray(entry.variable.numpy()).reshape(entry.shape)
        for entry in entries(model)
    }
    return write_checkpoint(values, folder, step)


def match(
    places: Sequence[Entry],
    shapes: Mapping[str, tuple[int, ...]],
    allow: Sequence[str] = (),
    path: str = "the checkpoint",
) -> MappingReport:
    """Finds a place for every key by names and shapes alone.

    Args:
        places: from `entries`.
        shapes: of the checkpoint's variables by key.
        allow: see `import_weights`.
        path: what errors call the checkpoint.

    Raises:
        UserError: see `import_weights`.
    """
    loaded, resized, skipped = [], {}, []
    for entry in places:
        there = shapes.get(entry.key)
        if there is None:
            skipped.append(entry.key)
        elif tuple(there) == entry.shape:
            loaded.append(entry.key)
        elif entry.is_position_table and tuple(there[1:]) == entry.shape[1:]:
            resized[entry.key] = (there[0], entry.shape[0])
        else:
            raise UserError(
                f"{path} has {entry.key} of shape {list(there)}, the model {list(entry.shape)}; "
                "set the sizes of task.model to those of the checkpoint"
            )
    known = {entry.key for entry in places}
    unused = [key for key in shapes if key not in known]
    _refuse(skipped, allow, path, "lacks")
    _refuse(unused, allow, path, "has, without a place in the model,")
    return MappingReport(loaded, resized, skipped, unused)


def _refuse(keys: Sequence[str], allow: Sequence[str], path: str, verb: str) -> None:
    """Raises UserError for keys that no pattern allows."""
    stray = [key for key in keys if not any(re.search(pattern, key) for pattern in allow)]
    if stray:
        more = f" and {len(stray) - _NAMES_SHOWN} more" if len(stray) > _NAMES_SHOWN else ""
        raise UserError(
            f"{path} {verb} {len(stray)} key(s): {', '.join(stray[:_NAMES_SHOWN])}{more}; give the "
            "config of the same model, or allow them with --allow=PATTERN"
        )
