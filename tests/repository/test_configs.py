"""Every experiment loads and says how it is run; every field of every config is read by code."""

import dataclasses
import pathlib
import re
import sys

import pytest

from mm_models.backbones import t5_config, vit_config
from mm_models.backbones.levels import classifier as levels_classifier
from mm_models.backbones.levels import config as levels_config
from mm_models.character_language_model import config as character_language_model_config
from mm_models.decoding import config as decoding_config
from mm_models.imp import config as imp_config
from mm_models.layers.quantization import quantizer_options
from mm_models.pali import config as pali_config
from mm_models.r3 import config as r3_config
from mm_models.r3 import language_config as r3_language_config
from mm_models.text import token_corruption
from mm_models.text.templates import load_templates
from mm_models.vatt import config as vatt_config
from trainers import registry
from trainers.config import schema as trainer_config
from trainers.config.loading import load_config
from trainers.data import config as data_config
from trainers.optimization import config as optimization_config
from trainers.study import config as study_config
from trainers.study import plan
from trainers.tasks.character_language_model import task as character_language_model
from trainers.tasks.classification import image_task as vit_classification
from trainers.tasks.classification import levels_task as levels_classification
from trainers.tasks.classification import task as classification
from trainers.tasks.imp import objectives as imp_objectives
from trainers.tasks.imp import task as imp
from trainers.tasks.pali import task as pali
from trainers.tasks.r3 import task as r3
from trainers.tasks.vatt import classification as vatt_classification

ROOT = pathlib.Path(__file__).parents[2]
STUDIES = sorted((ROOT / "configs" / "studies").glob("*.yaml"))
# What prompts are made of is data of experiments, not an experiment.
TEMPLATES = sorted((ROOT / "configs").rglob("templates*.yaml"))
EXPERIMENTS = sorted({*(ROOT / "configs").rglob("*.yaml")} - {*STUDIES, *TEMPLATES})
SCHEMAS = (
    imp_config,
    vatt_config,
    vit_config,
    levels_config,
    levels_classifier,
    t5_config,
    pali_config,
    r3_config,
    character_language_model_config,
    r3_language_config,
    quantizer_options,
    token_corruption,
    decoding_config,
    trainer_config,
    data_config,
    optimization_config,
    study_config,
    classification,
    character_language_model,
    imp,
    imp_objectives,
    pali,
    r3,
    vatt_classification,
    vit_classification,
    levels_classification,
)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_loads_and_its_header_says_how_to_run_it(path):
    header = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in header.splitlines() if line)
    # A file may change another one, which its command names first.
    command = header.split("Command:", 1)[1]
    files = dict.fromkeys(re.findall(r"--config_file=(\S+\.yaml)", command))
    assert str(path.relative_to(ROOT)) in files
    assert load_config([str(ROOT / file) for file in files]).streams


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_load(path):
    templates = load_templates(str(path))
    assert templates.tasks and "en" in templates.languages


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_run_of_a_study_loads_and_its_header_says_how_to_run_it(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = study_config.load_study(str(path))
    # Runs of other seeds differ in nothing else.
    study.seeds = study.seeds[:1]
    for run in plan.plan_runs(study, "nowhere"):
        assert plan.resolve(study, run)
    header = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in header.splitlines() if line)
    assert f"--study_file={path.relative_to(ROOT)}" in header


def _fields():
    parts = [sys.modules[part.__module__] for part in data_config.PART_CONFIGS.values()]
    for module in (*SCHEMAS, *parts):
        for name, schema in vars(module).items():
            if dataclasses.is_dataclass(schema) and schema.__module__ == module.__name__:
                for field in dataclasses.fields(schema):
                    yield name, field.name
    for name, system in registry.systems().items():
        for kind in registry.EVALUATORS | system.evaluators:
            schema = registry.evaluator_class(kind, name).config_class
            for field in dataclasses.fields(schema):
                yield schema.__name__, field.name


def test_every_config_field_is_read_outside_its_declaration():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("mm_models", "trainers", "export")
        for path in sorted((ROOT / room).rglob("*.py"))
    )
    unread = [
        f"{schema}.{field}"
        for schema, field in set(_fields())
        if not re.search(rf"\.{field}\b|[\"']{field}[\"']", code)
    ]
    assert not unread, sorted(unread)
