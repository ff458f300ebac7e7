"""Models have the abilities that they are used for, with the arguments that contracts name."""

import inspect
import typing

import pytest

from mm_models import contracts
from mm_models.backbones.image_classifier import ImageClassifier
from mm_models.backbones.levels.classifier import LevelsClassifier, LevelsClassifierConfig
from mm_models.backbones.vit_config import VitConfig
from mm_models.character_language_model.config import CharacterLanguageModelConfig
from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.grounding.config import GroundingConfig
from mm_models.grounding.model import GroundingModel
from mm_models.imp.model import ImpModel
from mm_models.pali.config import PaliConfig
from mm_models.pali.model import PaliModel
from mm_models.r3.config import R3Config
from mm_models.r3.model import R3Model
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.config import named_config
from mm_models.vatt.model import VattModel
from tests.mm_models.imp.small import small
from trainers import registry

PROTOCOLS = (
    *(contracts.Embeds, contracts.Classifies, contracts.MapsFrames),
    *(contracts.Writes, contracts.Scores, contracts.Grounds),
)
# What each model of the registry offers, and how to make a small one.
MODELS = {
    VattModel: ({contracts.Embeds, contracts.MapsFrames}, lambda: VattModel(named_config("debug"))),
    ImpModel: ({contracts.Embeds}, lambda: ImpModel(small(["video", "text"]))),
    PaliModel: ({contracts.Writes, contracts.Scores}, lambda: PaliModel(PaliConfig(size="debug"))),
    CharacterLanguageModel: (
        set(),
        lambda: CharacterLanguageModel(CharacterLanguageModelConfig(size="debug")),
    ),
    R3Model: ({contracts.Writes}, lambda: R3Model(R3Config(size="debug"))),
    VattClassifier: (
        {contracts.Classifies, contracts.MapsFrames},
        lambda: VattClassifier(named_config("debug"), "video", 3),
    ),
    ImageClassifier: (
        {contracts.Classifies, contracts.MapsFrames},
        lambda: ImageClassifier(VitConfig(size="debug", pool="map", num_classes=3)),
    ),
    GroundingModel: ({contracts.Grounds}, lambda: GroundingModel(GroundingConfig(size="debug"))),
    LevelsClassifier: (
        {contracts.Classifies, contracts.MapsFrames},
        lambda: LevelsClassifier(LevelsClassifierConfig(num_classes=3)),
    ),
}


def test_every_model_of_the_registry_is_here():
    tasks = (registry.resolve(one.task) for one in registry.SYSTEMS.values())
    models = {typing.get_type_hints(task.build_model)["return"] for task in tasks}
    assert models == set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_abilities_are_those_that_are_declared(model):
    abilities, make = MODELS[model]
    instance = make()
    assert {one for one in PROTOCOLS if isinstance(instance, one)} == abilities
    for ability in abilities:
        for name, declared in vars(ability).items():
            if inspect.isfunction(declared) and (name == "__call__" or not name.startswith("_")):
                check_arguments(declared, getattr(model, "call" if name == "__call__" else name))


def check_arguments(declared, method) -> None:
    """Whoever calls a method as its contract says is understood: same names, order and defaults;
    what the method takes beyond has defaults."""
    asked = list(inspect.signature(declared).parameters.values())
    taken = list(inspect.signature(method).parameters.values())
    for one, other in zip(asked, taken, strict=False):
        assert (one.name, one.default) == (other.name, other.default), method
    assert len(taken) >= len(asked), method
    assert all(more.default is not inspect.Parameter.empty for more in taken[len(asked) :]), method
