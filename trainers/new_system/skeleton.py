"""The skeleton of a system, from templates: in this checkout, or as a package of its own."""

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
_MODULES = ("config", "model", "task", "signatures")


def is_name(name: str) -> bool:
    """Whether a system may be called so: it names modules, YAML values and classes."""
    return bool(_NAME.fullmatch(name)) and not keyword.iskeyword(name)


def write_in_checkout(name: str) -> list[str]:
    """Files in the folders of the checkout that this code runs from; returns lines that tell which
    they are and what to do next.

    Raises:
        UserError: the name is taken, a file exists, or this is no checkout.
    """
    if not (ROOT / "configs").is_dir():
        raise UserError(f"{ROOT} is no checkout of mmstack; give --output for a package of its own")
    tests = f"tests/trainers/tasks/{name}"
    folders = [f"mm_models/{name}", f"trainers/tasks/{name}", f"export/signatures/{name}"]
    places = {
        "config.py": f"{folders[0]}/config.py",
        "model.py": f"{folders[0]}/model.py",
        "task.py": f"{folders[1]}/task.py",
        "signatures.py": f"{folders[2]}/signatures.py",
        "README.md": f"{folders[0]}/README.md",
        "debug.yaml": f"configs/{name}/digits_debug.yaml",
        "test.py": f"{tests}/test_{name}.py",
    }
    words = _words(name, places, configs=f"configs/{name}", levels=4)
    files = {place: _text(template, words) for template, place in places.items()}
    files |= {f"{folder}/__init__.py": "" for folder in (*folders, tests)}
    _write(ROOT, files)
    entry = _text("registration.py", words).partition("SYSTEM = ")[2].strip()
    return [
        *sorted(files),
        "add to SYSTEMS in trainers/registry.py:",
        *(f"    {line}" for line in f'"{name}": {entry},'.splitlines()),
        f"then fill the files until `python -m pytest {tests}` passes",
    ]


def write_package(name: str, output: str) -> list[str]:
    """A package with an entry point, in a new folder; returns lines as `write_in_checkout` does.

    Raises:
        UserError: the name is taken, or the folder exists.
    """
    if os.path.exists(output):
        raise UserError(f"--output={output} exists; name a new folder")
    package = f"mmstack_{name}"
    places = {f"{module}.py": f"{package}/{module}.py" for module in (*_MODULES, "registration")}
    places |= {file: file for file in ("README.md", "pyproject.toml")}
    places |= {"debug.yaml": "configs/digits_debug.yaml", "test.py": f"tests/test_{name}.py"}
    words = _words(name, places, configs="configs", levels=1)
    files = {place: _text(template, words) for template, place in places.items()}
    _write(pathlib.Path(output), files | {f"{package}/__init__.py": ""})
    return [
        *(os.path.join(output, path) for path in sorted(files)),
        f"`pip install --no-deps --editable {output}` makes the system known to every command;",
        f"then fill the files until `python -m pytest {output}/tests` passes",
    ]


def _words(name: str, places: Mapping[str, str], *, configs: str, levels: int) -> dict[str, str]:
    """What stands in the templates' slots. Raises UserError for a name that is taken.

    Args:
        name: of the system.
        places: path by template.
        configs: folder of the debug experiment, which `levels` folders above the test stands.
        levels: see `configs`.
    """
    if name in registry.systems():
        raise UserError(f"there is a system {name!r} already; choose another name")
    title = "".join(word.capitalize() for word in name.split("_"))
    imported = {
        f"{module}_module": places[f"{module}.py"].removesuffix(".py").replace("/", ".")
        for module in _MODULES
    }
    return {"name": name, "title": title, "configs": configs, "levels": str(levels), **imported}


def _text(template: str, words: Mapping[str, str]) -> str:
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return string.Template(text).substitute(words)


def _write(root: pathlib.Path, files: Mapping[str, str]) -> None:
    taken = [path for path in files if (root / path).exists()]
    if taken:
        raise UserError(f"{root / taken[0]} exists; choose another name, or move it away")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
