"""Who may import whom: the rooms of the architecture, enforced on the parsed source."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ROOMS = ("mm_models", "beam_pipelines", "trainers", "export", "tests", "benchmarks")

# room -> prefixes of project modules that it may import besides its own
ALLOWED = {
    "mm_models": (),
    "beam_pipelines": (
        "mm_models.errors",
        "mm_models.signal",
        "mm_models.text.sentinels",
        "mmstack",
    ),
    "trainers": ("mm_models", "beam_pipelines.record.contract", "mmstack"),
    "export": (
        "mm_models",
        "trainers.registry",
        "trainers.config",
        "trainers.runs",
        "trainers.tasks",
        "mmstack",
    ),
}
# The parts of export that meet clients' media use the pipelines' own decoders.
MEDIA_USERS = ("export/client", "export/server/", "export/commands/")


def _imported_modules(path: pathlib.Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def _sources(room: str) -> list[pathlib.Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _is_allowed(room: str, relative: str, module: str) -> bool:
    prefixes = (room, *ALLOWED[room])
    if room == "export" and relative.startswith(MEDIA_USERS):
        prefixes += ("beam_pipelines.media", "beam_pipelines.rejects")
    if relative.startswith("export/client"):
        prefixes += ("trainers.evaluation.places.record_set",)
    return any(f"{module}.".startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("room", ALLOWED)
def test_room_imports_only_what_the_design_allows(room):
    wrong = []
    for path in _sources(room):
        relative = path.relative_to(ROOT).as_posix()
        for module, line in _imported_modules(path):
            if module.split(".")[0] in (*ROOMS, "mmstack") and not _is_allowed(
                room, relative, module
            ):
                wrong.append(f"{relative}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_nobody_uses_keras_2():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {module}"
        for room in ALLOWED
        for path in _sources(room)
        for module, line in _imported_modules(path)
        if module.split(".")[0] == "tf_keras" or module.startswith("tensorflow.keras")
    ]
    wrong += [
        str(path.relative_to(ROOT))
        for room in ALLOWED
        for path in _sources(room)
        if "tf.keras" in path.read_text(encoding="utf-8")
    ]
    assert not wrong, wrong


def test_pipeline_workers_never_import_tensorflow():
    # The launcher of the vocabulary job learns WordPiece with tensorflow-text, inside a function.
    launcher = "beam_pipelines/pipelines/vocabulary.py"
    users = {
        path.relative_to(ROOT).as_posix()
        for path in _sources("beam_pipelines")
        for module, _ in _imported_modules(path)
        if module.split(".")[0] in ("tensorflow", "keras", "tensorflow_text", "tensorflow_io")
    }
    assert users <= {launcher}, users
    loaded = "import sys, beam_pipelines.pipelines.vocabulary; print('tensorflow' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_tensorflow_io_is_imported_in_one_module():
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ALLOWED
        for path in _sources(room)
        for module, _ in _imported_modules(path)
        if module.split(".")[0] == "tensorflow_io"
    }
    assert len(users) == 1, users
