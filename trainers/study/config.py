"""What a study compares: typed, strict, read without TensorFlow so that reports are instant."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import omegaconf
import yaml
from omegaconf import OmegaConf

from mm_models import checks
from mm_models.errors import UserError

TAKES = ("last", "max", "min")
_NAME = re.compile(r"[\w.+-]+")


@dataclasses.dataclass
class FactorConfig:
    """One thing that varies.

    Attributes:
        levels: overrides (`a.b=c`) by level name.
        each: overrides of every level; `{<factor>}` is the level's name. A factor that has these
            takes levels on the command line that the file does not name.
    """

    levels: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    each: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PreparationConfig:
    """A command that runs once before the runs that need it.

    Attributes:
        run: words after `mmstack`; `{factor}` and `{seed}` are replaced, and the command runs once
            for each combination of those it mentions.
        makes: what exists when it is done; the command is skipped then.
    """

    run: str = ""
    makes: str = ""


@dataclasses.dataclass
class MetricConfig:
    """One number of a run.

    Attributes:
        title: heading in tables and pictures; empty takes the metric's name.
        chance: what guessing scores, drawn and listed; null where that is not known.
        take: `last` value logged, or the `max` or `min` over the run.
    """

    title: str = ""
    chance: float | None = None
    take: str = "last"


@dataclasses.dataclass
class ReportConfig:
    """How results are laid out.

    Attributes:
        rows: factor whose levels are compared.
        control: the level of `rows` that differences are taken to.
    """

    rows: str = ""
    control: str = ""


@dataclasses.dataclass
class StudyConfig:
    """A study: every combination of levels is trained once per seed.

    Attributes:
        name: heading of the report.
        config_files: experiment files, later ones win.
        overrides: overrides of every run.
        factors: what varies, by name.
        seeds: values of `trainer.seed`.
        preparations: commands that make what the runs read, by name, in order.
        metrics: what is compared, by its name in `metrics.jsonl`.
        report: layout of the result.
    """

    name: str = ""
    config_files: list[str] = dataclasses.field(default_factory=list)
    overrides: list[str] = dataclasses.field(default_factory=list)
    factors: dict[str, FactorConfig] = dataclasses.field(default_factory=dict)
    seeds: list[int] = dataclasses.field(default_factory=lambda: [1, 2, 3])
    preparations: dict[str, PreparationConfig] = dataclasses.field(default_factory=dict)
    metrics: dict[str, MetricConfig] = dataclasses.field(default_factory=dict)
    report: ReportConfig = dataclasses.field(default_factory=ReportConfig)


def load_study(
    path: str, levels: Sequence[str] = (), seeds: str = "", metrics: str = ""
) -> StudyConfig:
    """Reads and checks a study.

    Args:
        path: YAML file.
        levels: choices of levels, each `factor=level,level`.
        seeds: comma-separated seeds instead of the file's; empty keeps those.
        metrics: comma-separated metrics, as they are logged, instead of the file's.

    Raises:
        UserError: for a missing or malformed file, an unknown key or level, or a value that cannot
            work.
    """
    tree = _texts(_read(path))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(StudyConfig), OmegaConf.create(tree))
        study = OmegaConf.to_object(merged)
    except omegaconf.errors.OmegaConfBaseException as error:
        raise UserError(_describe(path, error)) from error
    if seeds:
        study.seeds = _seeds(seeds)
    if metrics:
        known = study.metrics
        study.metrics = {name: known.get(name, MetricConfig()) for name in metrics.split(",")}
    _check(study, path)
    for choice in levels:
        _choose_levels(study, choice)
    compared = study.factors[study.report.rows].levels
    checks.check_choice(study.report.control, compared, f"{path}: report.control")
    return study


def substitute(text: str, values: Mapping[str, Any]) -> str:
    """`text` with `{name}` replaced for the names in `values`; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), text)


def _read(path: str) -> dict:
    try:
        tree = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read --study_file {path} ({error}); give the path of a YAML file"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} is empty or no mapping; a study has `factors:`, `metrics:` …")
    return tree


def _texts(tree: Any) -> Any:
    """Keys as text, so that a level may be called 0.5."""
    if isinstance(tree, dict):
        return {str(key): _texts(child) for key, child in tree.items()}
    return tree


def _describe(path: str, error: Exception) -> str:
    key = getattr(error, "full_key", None) or "a value"
    schema = getattr(error, "object_type", None)
    if isinstance(error, omegaconf.errors.ConfigKeyError) and dataclasses.is_dataclass(schema):
        names = [field.name for field in dataclasses.fields(schema)]
        remedy = checks.nearest(str(getattr(error, "key", "")), names)
        return f"{path}: unknown key {key}; {remedy}"
    return f"{path}: {key}: {str(error).splitlines()[0]}"


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds is {text!r}; write whole numbers, such as 1,2,3") from error


def _check(study: StudyConfig, path: str) -> None:
    for name in ("config_files", "factors", "seeds", "metrics"):
        if not getattr(study, name):
            raise UserError(f"{path}: {name} is empty; a study needs at least one")
    if len(set(study.seeds)) < len(study.seeds):
        raise UserError(f"{path}: seeds {study.seeds} repeat; name each once")
    for name, factor in study.factors.items():
        if not factor.levels:
            raise UserError(f"{path}: factors.{name}.levels is empty; name at least one level")
        if name == "seed":
            raise UserError(f"{path}: factors.seed is taken by `seeds`; call the factor otherwise")
        for word in (name, *factor.levels):
            _check_name(word, f"{path}: factors.{name}")
    for name, metric in study.metrics.items():
        checks.check_choice(metric.take, TAKES, f"{path}: metrics.{name}.take")
    for name, step in study.preparations.items():
        if not step.run or not step.makes:
            raise UserError(f"{path}: preparations.{name} needs both `run` and `makes`")
    checks.check_choice(study.report.rows, study.factors, f"{path}: report.rows")


def _check_name(word: str, where: str) -> None:
    """Names become parts of folders' names."""
    if not _NAME.fullmatch(word):
        raise UserError(f"{where}: {word!r} is no name; use letters, digits and any of _ . + -")


def _choose_levels(study: StudyConfig, choice: str) -> None:
    name, equals, listed = choice.partition("=")
    if not equals or name not in study.factors or not listed:
        raise UserError(
            f"--levels {choice!r} is no choice; write factor=level,level with a factor among "
            f"{list(study.factors)}"
        )
    factor = study.factors[name]
    chosen: dict[str, list[str]] = {}
    for level in listed.split(","):
        if level not in factor.levels and not factor.each:
            raise UserError(
                f"--levels {choice!r}: {name} has no level {level!r}; choose among "
                f"{list(factor.levels)}"
            )
        _check_name(level, f"--levels {choice!r}")
        chosen[level] = factor.levels.get(level, [])
    factor.levels = chosen
