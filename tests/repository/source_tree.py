"""The sources as the tests of the repository read them: files, syntax trees, who imports whom."""

import ast
import functools
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
ROOMS = ("mm_models", "beam_pipelines", "trainers", "export")
ALL = (*ROOMS, "benchmarks", "tests")
# A system is what has a model of its own; its code lies in three folders of its name.
SYSTEMS = tuple(sorted(path.parent.name for path in (ROOT / "mm_models").glob("*/model.py")))
_FOLDERS_OF_SYSTEMS = ("mm_models", "trainers/tasks", "export/signatures")


def sources(*rooms: str) -> list[pathlib.Path]:
    """Python files of rooms, sorted."""
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def name_of(path: pathlib.Path) -> str:
    """A path as messages show it."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def shared_sources() -> list[pathlib.Path]:
    """Files of the rooms that belong to no system; the registry is the one that may name them."""
    own = tuple(f"{folder}/{system}/" for folder in _FOLDERS_OF_SYSTEMS for system in SYSTEMS)
    return [
        path
        for path in (*sources(*ROOMS), ROOT / "mmstack.py")
        if not name_of(path).startswith((*own, "trainers/registry.py"))
    ]


def imports(path: pathlib.Path) -> list[tuple[str, int]]:
    """(module or name in it, line) of every import, also in functions and under TYPE_CHECKING."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def import_graph() -> dict[str, set[str]]:
    """Modules of the rooms -> modules of the rooms that they import."""
    modules = {_module_of(path): path for path in (*sources(*ROOMS), ROOT / "mmstack.py")}
    return {
        module: {
            name if name in modules else name.rpartition(".")[0]
            for name, _ in imports(path)
            if name in modules or name.rpartition(".")[0] in modules
        }
        for module, path in modules.items()
    }


def _module_of(path: pathlib.Path) -> str:
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or over others."""
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach[other]))
        for module in graph
        if module in reach[module]
    }
    return sorted(map(list, groups))


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        fresh = graph[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found
