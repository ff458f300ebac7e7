"""The skeleton of a system, from templates: in this checkout, or as a package of its own."""

import dataclasses
import keyword
import os
import pathlib
import re
import string
from collections.abc import Mapping

from mm_models.errors import UserError
from trainers import registry

ROOT = pathlib.Path(__file__).parents[2]
TEMPLATES = pathlib.Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written: paths in order, and lines that say what to do next."""

    files: list[str]
    next_steps: list[str]


def is_name(name: str) -> bool:
    """Whether a system may be called so: it names modules, YAML values and classes."""
    return bool(_NAME.fullmatch(name)) and not keyword.iskeyword(name)


def write_in_checkout(name: str) -> Written:
    """Files in the folders of the checkout that this code runs from.

    Raises:
        UserError: the name is taken, a file exists, or this is no checkout.
    """
    if not (ROOT / "configs").is_dir():
        raise UserError(f"{ROOT} is no checkout of mmstack; give --output for a package of its own")
    tests = f"tests/trainers/tasks/{name}"
    modules = {
        "config": f"mm_models.{name}.config",
        "model": f"mm_models.{name}.model",
        "task": f"trainers.tasks.{name}.task",
        "signatures": f"export.signatures.{name}.signatures",
    }
    places = {f"{module}.py": _path_of(reference) for module, reference in modules.items()}
    places |= {
        "README.md": f"mm_models/{name}/README.md",
        "debug.yaml": f"configs/{name}/digits_debug.yaml",
        "test.py": f"{tests}/test_{name}.py",
    }
    packages = [f"mm_models/{name}", f"trainers/tasks/{name}", f"export/signatures/{name}"]
    files = _render(name, modules, places, configs=f"configs/{name}", levels=4)
    files |= {f"{folder}/__init__.py": "" for folder in [*packages, tests]}
    _write(ROOT, files)
    return Written(
        sorted(files),
        [
            "add to SYSTEMS in trainers/registry.py:",
            *(f"    {line}" for line in _registry_entry(name, modules)),
            f"then fill the files until `python -m pytest {tests}` passes",
        ],
    )


def write_package(name: str, output: str) -> Written:
    """A package with an entry point, in a new folder.

    Raises:
        UserError: the name is taken, or the folder exists.
    """
    if os.path.exists(output):
        raise UserError(f"--output={output} exists; name a new folder")
    package = f"mmstack_{name}"
    modules = {
        module: f"{package}.{module}" for module in ("config", "model", "task", "signatures")
    }
    places = {f"{module}.py": _path_of(reference) for module, reference in modules.items()}
    places |= {
        "README.md": "README.md",
        "pyproject.toml": "pyproject.toml",
        "registration.py": f"{package}/registration.py",
        "debug.yaml": "configs/digits_debug.yaml",
        "test.py": f"tests/test_{name}.py",
    }
    files = _render(name, modules, places, configs="configs", levels=1)
    files[f"{package}/__init__.py"] = ""
    _write(pathlib.Path(output), files)
    return Written(
        [os.path.join(output, path) for path in sorted(files)],
        [
            f"`pip install --no-deps --editable {output}` makes the system known to every command",
            f"then fill the files until `python -m pytest {output}/tests` passes",
        ],
    )


def _path_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _registry_entry(name: str, modules: Mapping[str, str]) -> list[str]:
    title = _class_name(name)
    return [
        f'"{name}": System(',
        f'    task="{modules["task"]}:{title}Task",',
        f'    task_config="{modules["task"]}:{title}TaskConfig",',
        f'    signatures="{modules["signatures"]}:{title}Signatures",',
        "),",
    ]


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _render(
    name: str, modules: Mapping[str, str], places: Mapping[str, str], *, configs: str, levels: int
) -> dict[str, str]:
    """Text by path of every template.

    Args:
        name: of the system.
        modules: what each file is imported as.
        places: path by template.
        configs: folder of the debug experiment, as its header names it.
        levels: folders between the test and what holds `configs`.

    Raises:
        UserError: the name is taken.
    """
    if name in registry.systems():
        raise UserError(f"there is a system {name!r} already; choose another name")
    words = {
        "name": name,
        "title": _class_name(name),
        "configs": configs,
        "levels": str(levels),
        **{f"{module}_module": reference for module, reference in modules.items()},
    }
    return {
        place: string.Template(
            (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        ).substitute(words)
        for template, place in places.items()
    }


def _write(root: pathlib.Path, files: Mapping[str, str]) -> None:
    taken = [path for path in files if (root / path).exists()]
    if taken:
        raise UserError(f"{root / taken[0]} exists; choose another name, or move it away")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
