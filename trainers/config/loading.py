"""Experiments from files and back: defaults ← presets ← YAML files ← `--set` overrides."""

import dataclasses
from collections.abc import Sequence

from omegaconf import OmegaConf

from trainers.config import checks, sources
from trainers.config.schema import ExperimentConfig


def load_config(
    config_files: Sequence[str],
    overrides: Sequence[str] | None = None,
    *,
    check: bool = True,
    trains: bool = True,
) -> ExperimentConfig:
    """Merges the files in order, then the overrides (`a.b=c`), into a checked ExperimentConfig.

    Args:
        config_files: paths of YAML files.
        overrides: texts `a.b=c`.
        check: refuse values that cannot work.
        trains: see `checks.check_config`.

    Raises:
        UserError: for a missing or malformed file, an unknown key, a wrong type or a value that
            cannot work.
    """
    config = sources.merge(config_files, overrides or [])
    if check:
        checks.check_config(config, trains=trains)
    return config


def to_yaml(config: ExperimentConfig) -> str:
    """The resolved experiment as YAML that `load_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
