"""The systems this stack trains, and what they are put together from: adding one is adding a line.

A system of another package needs no line here. Its distribution has an entry point in the group
`mmstack.systems`, whose name is the system's and whose object is a `System`.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from mm_models.errors import UserError

ENTRY_POINT_GROUP = "mmstack.systems"


@dataclasses.dataclass(frozen=True)
class System:
    """Where a system's parts live, as `module:name`, imported only when asked for.

    Attributes:
        task: class of the task (trainers/tasks/base.py).
        task_config: its dataclass.
        signatures: class of the served functions (export/signatures/base.py).
        evaluators: classes of the kinds of evaluators that the system brings (trainers/evaluation/
            base.py), which only experiments of this system know.
        input_parts: config classes of the parts of an input that the system brings, by name
            (trainers/data/parts/base.py), which every experiment knows.
        key_maps: how published weights of the system name what they hold
            (mm_models/checkpoints/key_maps.py); empty for none.
    """

    task: str
    task_config: str
    signatures: str
    evaluators: Mapping[str, str] = dataclasses.field(default_factory=dict)
    input_parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    key_maps: str = ""


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

# What an input may be put together from: config classes by the part's name.
INPUT_PARTS: dict[str, str] = {
    "video": "trainers.data.parts.video.config:VideoInputConfig",
    "audio": "trainers.data.parts.audio.config:AudioInputConfig",
    "text": "trainers.data.parts.text.config:TextInputConfig",
    "prompted": "trainers.data.parts.prompted.config:PromptedInputConfig",
    "labels": "trainers.data.parts.labels.config:LabelsInputConfig",
}


def systems() -> dict[str, System]:
    """Every system by name: those of this project, and those of installed packages.

    Raises:
        UserError: a package's entry point cannot be loaded, or its name is taken.
    """
    return _installed() | SYSTEMS


@functools.cache
def _installed() -> dict[str, System]:
    found: dict[str, System] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        package = entry.dist.name if entry.dist is not None else "a package"
        if entry.name in SYSTEMS or entry.name in found:
            raise UserError(
                f"{package} brings a system {entry.name!r}, but there already is one of that name; "
                "uninstall one of them, or rename the entry point"
            )
        found[entry.name] = _load(entry, package)
    return found


def _load(entry: importlib.metadata.EntryPoint, package: str) -> System:
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{package} brings a system {entry.name!r}, but {entry.value} cannot be imported "
            f"({error}); reinstall it, or uninstall it"
        ) from error
    if not isinstance(loaded, System):
        raise UserError(
            f"{package} brings a system {entry.name!r}, but {entry.value} is a "
            f"{type(loaded).__name__}; it must be a trainers.registry.System"
        )
    return loaded


def input_parts() -> dict[str, str]:
    """Config classes of the known parts of an input: those of this project, then of systems.

    Raises:
        UserError: a system brings a part whose name is taken.
    """
    known = dict(INPUT_PARTS)
    for name, each in systems().items():
        for part, config in each.input_parts.items():
            if known.setdefault(part, config) != config:
                raise UserError(
                    f"system {name!r} brings an input part {part!r} ({config}), but there already "
                    f"is {known[part]}; rename the part in the system's input_parts"
                )
    return known


def system(name: str) -> System:
    """The entry for `name`. Raises UserError with the nearest known names."""
    known = systems()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3) or sorted(known)
    raise UserError(f"task.name is {name!r}, which is no known system; did you mean {near}?")


def resolve(reference: str) -> Any:
    """Imports `module:name` and returns the object."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
