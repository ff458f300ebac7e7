"""The systems this stack trains, and what they are put together from: adding one is adding a line.

A system of another package needs no line here. Its distribution has an entry point in the group
`mmstack.systems`, whose name is the system's and whose object is a `System`.
"""

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from mm_models import checks
from mm_models.checkpoints.key_maps import KEY_MAPS, KeyMap
from mm_models.errors import UserError
from mm_models.references import resolve

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
        key_maps: tuple of the system's own KeyMaps (mm_models/checkpoints/key_maps.py), by which
            published weights come in and go out; empty for none. Its module is light.
        presets: tables of recipes that configs shared by all systems may name as their `preset`, by
            what they are of: `schedule` (trainers/optimization/config.py). A recipe's name begins
            with the system's, since every experiment may take it.
    """

    task: str
    task_config: str
    signatures: str
    evaluators: Mapping[str, str] = dataclasses.field(default_factory=dict)
    input_parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    key_maps: str = ""
    presets: Mapping[str, str] = dataclasses.field(default_factory=dict)


_EVALUATION = "trainers.evaluation"
# Kinds of evaluators that every system has; those of one system alone stand with the system.
EVALUATORS: dict[str, str] = {
    "zero_shot": f"{_EVALUATION}.places.zero_shot:ZeroShotEvaluator",
    "retrieval": f"{_EVALUATION}.places.retrieval:RetrievalEvaluator",
    "linear_probe": f"{_EVALUATION}.places.linear_probe:LinearProbeEvaluator",
    "classification": f"{_EVALUATION}.classes.classification:ClassificationEvaluator",
    "stream_conflict": f"{_EVALUATION}.stream_conflict:StreamConflictEvaluator",
    "loss": f"{_EVALUATION}.loss:LossEvaluator",
    "generation": f"{_EVALUATION}.writing.generation:GenerationEvaluator",
    "label_scoring": f"{_EVALUATION}.writing.label_scoring:LabelScoringEvaluator",
    "likelihood_retrieval": (
        f"{_EVALUATION}.writing.likelihood_retrieval:LikelihoodRetrievalEvaluator"
    ),
}

_CHARACTERS = "trainers.tasks.character_language_model"
SYSTEMS: dict[str, System] = {
    "vatt": System(
        task="trainers.tasks.vatt.task:VattTask",
        task_config="trainers.tasks.vatt.task:VattTaskConfig",
        signatures="export.signatures.vatt.signatures:VattSignatures",
        key_maps="mm_models.vatt.key_maps:KEY_MAPS",
        presets={"schedule": "trainers.tasks.vatt.presets:SCHEDULES"},
        evaluators={"conflict": "trainers.tasks.vatt.evaluators.conflict:ConflictEvaluator"},
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
        presets={"schedule": "trainers.tasks.pali.presets:SCHEDULES"},
    ),
    "vit_classification": System(
        task="trainers.tasks.classification.image_task:VitClassificationTask",
        task_config="trainers.tasks.classification.image_task:VitClassificationTaskConfig",
        signatures="export.signatures.classification.signatures:ClassificationSignatures",
    ),
    "levels_classification": System(
        task="trainers.tasks.classification.levels_task:LevelsClassificationTask",
        task_config="trainers.tasks.classification.levels_task:LevelsClassificationTaskConfig",
        signatures="export.signatures.classification.signatures:ClassificationSignatures",
    ),
    "imp": System(
        task="trainers.tasks.imp.task:ImpTask",
        task_config="trainers.tasks.imp.task:ImpTaskConfig",
        signatures="export.signatures.imp.signatures:ImpSignatures",
        presets={"schedule": "trainers.tasks.imp.presets:SCHEDULES"},
        evaluators={
            "expert_usage": "trainers.tasks.imp.evaluators.expert_usage:ExpertUsageEvaluator"
        },
    ),
    "r3": System(
        task="trainers.tasks.r3.task:R3Task",
        task_config="trainers.tasks.r3.task:R3TaskConfig",
        signatures="export.signatures.r3.signatures:R3Signatures",
        evaluators={"role_usage": "trainers.tasks.r3.evaluators.role_usage:RoleUsageEvaluator"},
    ),
    "grounding": System(
        task="trainers.tasks.grounding.task:GroundingTask",
        task_config="trainers.tasks.grounding.task:GroundingTaskConfig",
        signatures="export.signatures.grounding.signatures:GroundingSignatures",
        presets={"schedule": "trainers.tasks.grounding.presets:SCHEDULES"},
        evaluators={"pointing": "trainers.tasks.grounding.evaluators.pointing:PointingEvaluator"},
    ),
    "character_language_model": System(
        task=f"{_CHARACTERS}.task:CharacterLanguageModelTask",
        task_config=f"{_CHARACTERS}.task:CharacterLanguageModelTaskConfig",
        signatures=(
            "export.signatures.character_language_model.signatures:CharacterLanguageModelSignatures"
        ),
        evaluators={"perplexity": f"{_CHARACTERS}.perplexity:PerplexityEvaluator"},
        input_parts={"characters": f"{_CHARACTERS}.characters_config:CharactersInputConfig"},
    ),
}

# What an input may be put together from: config classes by the part's name.
INPUT_PARTS: dict[str, str] = {
    "video": "trainers.data.parts.video.config:VideoInputConfig",
    "audio": "trainers.data.parts.audio.config:AudioInputConfig",
    "text": "trainers.data.parts.text.config:TextInputConfig",
    "prompted": "trainers.data.parts.prompted.config:PromptedInputConfig",
    "features": "trainers.data.parts.features.config:FeaturesInputConfig",
    "phrases": "trainers.data.parts.phrases.config:PhrasesInputConfig",
    "labels": "trainers.data.parts.labels.config:LabelsInputConfig",
}


def systems() -> dict[str, System]:
    """Every system by name: those of this project, and those of installed packages.

    Raises UserError when a package's entry point cannot be loaded, or its name is taken.
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
    loaded = resolve(entry.value)
    if not isinstance(loaded, System):
        raise UserError(
            f"{package} brings a system {entry.name!r}, but {entry.value} is a "
            f"{type(loaded).__name__}; it must be a trainers.registry.System"
        )
    return loaded


def input_parts() -> dict[str, str]:
    """Config classes of the known parts of an input: those of this project, then of systems.

    Raises UserError when a system brings a part whose name is taken.
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
    raise UserError(
        f"task.name is {name!r}, which is no known system; {checks.nearest(name, known)}"
    )


def key_maps() -> tuple[KeyMap, ...]:
    """Names of published weights: of the backbones that systems share, and of every system."""
    own = [
        key_map for one in systems().values() if one.key_maps for key_map in resolve(one.key_maps)
    ]
    return (*KEY_MAPS, *dict.fromkeys(own))


def weight_formats() -> tuple[str, ...]:
    """What `mmstack convert` reads and writes."""
    return tuple(dict.fromkeys(key_map.format for key_map in key_maps()))


def presets(kind: str) -> dict[str, dict[str, Any]]:
    """The recipes of every system, such as those of a `schedule`: fields by the preset's name."""
    tables = (one.presets[kind] for one in systems().values() if kind in one.presets)
    return {name: fields for table in tables for name, fields in resolve(table).items()}


def evaluator_class(kind: str, system_name: str, field: str = "kind") -> Any:
    """The class of a kind of evaluators, of all systems or of this one.

    Raises:
        UserError: there is none; names `field`, where the kind stands, and the nearest kinds.
    """
    known = EVALUATORS | dict(system(system_name).evaluators)
    if kind not in known:
        raise UserError(
            f"{field} is {kind!r}, which is no kind of evaluator of the system {system_name}; "
            f"{checks.nearest(kind, known)}"
        )
    return resolve(known[kind])
