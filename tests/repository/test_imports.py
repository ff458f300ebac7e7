"""Who may import whom: the rooms of the architecture, enforced on the parsed source."""

import subprocess
import sys

import pytest

from tests.repository.source_tree import ALL, ROOMS, ROOT, imports, name_of, sources

# Modules that import nothing of ours; every room uses them.
EVERYBODYS = ("mm_models.checks", "mm_models.errors", "mm_models.progress")
# room -> prefixes of project modules that it may import besides its own
ALLOWED = {
    "mm_models": (),
    "beam_pipelines": (
        *EVERYBODYS,
        "mm_models.signal",
        "mm_models.text.sentinels",
        "mmstack",
    ),
    "trainers": (
        "mm_models",
        "beam_pipelines.record.contract",
        "beam_pipelines.record.survey",
        "mmstack",
    ),
    "export": (
        "mm_models",
        "trainers.registry",
        "trainers.config",
        "trainers.runs",
        "trainers.tasks",
        "mmstack",
    ),
    "benchmarks": (*ROOMS, "mmstack"),
}
# The parts of export that meet clients' media use the pipelines' own decoders.
MEDIA_USERS = ("export/client", "export/server/", "export/commands/")
# What puts the encoder of features into an export loads it as the pipelines do.
ENCODER_USER = "export/signatures/shared/encoded_features.py"


def _is_allowed(room: str, relative: str, module: str) -> bool:
    prefixes = (room, *ALLOWED[room])
    if room == "export" and relative.startswith(MEDIA_USERS):
        prefixes += ("beam_pipelines.media", "beam_pipelines.rejects")
    if relative == ENCODER_USER:
        pipelines = "beam_pipelines.pipelines"
        prefixes += (f"{pipelines}.features.encoder", f"{pipelines}.runner")
    if relative.startswith("export/client"):
        prefixes += ("trainers.evaluation.places.record_set",)
    return any(f"{module}.".startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("room", ALLOWED)
def test_room_imports_only_what_the_design_allows(room):
    wrong = []
    for path in sources(room):
        relative = name_of(path)
        for module, line in imports(path):
            if module.split(".")[0] in (*ALL, "mmstack") and not _is_allowed(
                room, relative, module
            ):
                wrong.append(f"{relative}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_modules_of_all_rooms_import_nothing_of_ours():
    for module in EVERYBODYS:
        path = ROOT / f"{module.replace('.', '/')}.py"
        ours = [name for name, _ in imports(path) if name.split(".")[0] in (*ALL, "mmstack")]
        assert set(ours) <= {"mm_models.errors.UserError"}, (module, ours)


def test_nobody_uses_keras_2():
    wrong = [
        f"{name_of(path)}:{line} {module}"
        for room in ALLOWED
        for path in sources(room)
        for module, line in imports(path)
        if module.split(".")[0] == "tf_keras" or module.startswith("tensorflow.keras")
    ]
    wrong += [
        name_of(path)
        for room in ALLOWED
        for path in sources(room)
        if "tf.keras" in path.read_text(encoding="utf-8")
    ]
    assert not wrong, wrong


def test_pipeline_workers_import_tensorflow_only_to_run_a_model():
    # Inside functions, the launcher of the vocabulary job learns WordPiece with tensorflow-text,
    # and the job that runs a model loads it.
    users_of_it = {
        "beam_pipelines/pipelines/vocabulary.py",
        "beam_pipelines/pipelines/features/encoder.py",
    }
    users = {
        name_of(path)
        for path in sources("beam_pipelines")
        for module, _ in imports(path)
        if module.split(".")[0] in ("tensorflow", "keras", "tensorflow_text", "tensorflow_io")
    }
    assert users <= users_of_it, users
    modules = "beam_pipelines.pipelines.vocabulary, beam_pipelines.pipelines.features.job"
    loaded = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_tensorflow_io_is_imported_in_one_module():
    users = {
        name_of(path)
        for room in ALLOWED
        for path in sources(room)
        for module, _ in imports(path)
        if module.split(".")[0] == "tensorflow_io"
    }
    assert len(users) == 1, users
