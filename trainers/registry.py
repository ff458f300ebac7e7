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
        task="trainers.tasks.vatt.task:VattTask",
        task_config="trainers.tasks.vatt.task:VattTaskConfig",
        signatures="export.signatures.vatt.signatures:VattSignatures",
    ),
    "vatt_classification": System(
        task="trainers.tasks.vatt.classification:VattClassificationTask",
        task_config="trainers.tasks.vatt.classification:VattClassificationTaskConfig",
        signatures="export.signatures.classification.signatures:ClassificationSignatures",
    ),
    "pali": System(
        task="trainers.tasks.pali.task:PaliTask",
        task_config="trainers.tasks.pali.task:PaliTaskConfig",
        signatures="export.signatures.pali.signatures:PaliSignatures",
    ),
    "vit_classification": System(
        task="trainers.tasks.classification.image_task:VitClassificationTask",
        task_config="trainers.tasks.classification.image_task:VitClassificationTaskConfig",
        signatures="export.signatures.classification.signatures:ClassificationSignatures",
    ),
    "imp": System(
        task="trainers.tasks.imp.task:ImpTask",
        task_config="trainers.tasks.imp.task:ImpTaskConfig",
        signatures="export.signatures.imp.signatures:ImpSignatures",
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
