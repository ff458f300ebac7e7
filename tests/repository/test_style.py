"""Form that a linter does not check: file and function length, documented public functions."""

import ast
import pathlib
import re
import subprocess

from tests.repository.source_tree import ROOMS, ROOT, name_of, sources, tree_of

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 80


def _modules():
    return [*sources(*ROOMS, "benchmarks"), ROOT / "mmstack.py"]


def _functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_over_400_lines():
    paths = [*_modules(), *sources("tests")]
    long = {
        name_of(path): count
        for path in paths
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MAX_MODULE_LINES
    }
    assert not long, long


def test_no_function_too_long_to_read():
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"
        for path in _modules()
        for node in _functions(tree_of(path))
        if (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_serialisable_classes_have_names_of_their_own():
    """Keras keeps the last class of a name, and would load another system's layers as it."""
    places = {}
    for path in _modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and any(
                "register_keras_serializable" in ast.unparse(d) for d in node.decorator_list
            ):
                places.setdefault(node.name, []).append(name_of(path))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert len(places) > 20
    assert not twice, twice


def test_no_empty_bodies():
    empty = []
    for path in _modules():
        for node in _functions(tree_of(path)):
            abstract = any("abstractmethod" in ast.unparse(d) for d in node.decorator_list)
            if not abstract and isinstance(node.body[-1], ast.Pass):
                empty.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert not empty, empty


def _text_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        # A file that is deleted but not yet committed is still listed.
        if path.suffix in (".py", ".md", ".yaml", ".txt", ".toml", ".json", "") and path.is_file():
            yield path


def test_the_repository_speaks_of_the_project_alone():
    pattern = re.compile(r"(/work/|/tmp/w|\bTODO\b|\bFIXME\b|\bXXX\b)")
    wrong = [
        f"{name_of(path)}:{number} {line.strip()[:80]}"
        for path in _text_files()
        if path != pathlib.Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not wrong, "\n".join(wrong)
