"""The systems this stack trains: adding one is adding a line."""

import dataclasses
import difflib
import importlib
from typing import Any

from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class System:
    """Where a system's parts live, as `module:name`, imported only when asked for."""

    task: str
    task_config: str
    signatures: str


SYSTEMS: dict[str, System] = {
    "vatt": System(
        task="trainers.tasks.vatt:VattTask",
        task_config="trainers.tasks.vatt:VattTaskConfig",
        signatures="export.signatures.vatt:VattSignatures",
    ),
    "vatt_classification": System(
        task="trainers.tasks.vatt_classification:VattClassificationTask",
        task_config="trainers.tasks.vatt_classification:VattClassificationTaskConfig",
        signatures="export.signatures.classification:ClassificationSignatures",
    ),
    "pali": System(
        task="trainers.tasks.pali:PaliTask",
        task_config="trainers.tasks.pali:PaliTaskConfig",
        signatures="export.signatures.pali:PaliSignatures",
    ),
    "vit_classification": System(
        task="trainers.tasks.vit_classification:VitClassificationTask",
        task_config="trainers.tasks.vit_classification:VitClassificationTaskConfig",
        signatures="export.signatures.classification:ClassificationSignatures",
    ),
    "imp": System(
        task="trainers.tasks.imp:ImpTask",
        task_config="trainers.tasks.imp:ImpTaskConfig",
        signatures="export.signatures.imp:ImpSignatures",
    ),
}


def system(name: str) -> System:
    """The entry for `name`. Raises UserError with the nearest known names."""
    if name in SYSTEMS:
        return SYSTEMS[name]
    near = difflib.get_close_matches(name, SYSTEMS, n=3) or sorted(SYSTEMS)
    raise UserError(f"task.name is {name!r}, which is no known system; did you mean {near}?")


def resolve(reference: str) -> Any:
    """Imports `module:name` and returns the object."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
