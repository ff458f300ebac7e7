"""Machine and installed versions."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator

from export.doctor.findings import Finding, note, ok, problem

PROJECT = "mmstack"
MIN_MEMORY_GIB = 4.0
MIN_DISK_GIB = 5.0
REINSTALL = "install with `pip install -c constraints.txt -e .[dev,corpus]` in a new environment"


def check_machine(work_dir: str = ".") -> Iterator[Finding]:
    """Findings about Python, cores, memory, disk and accelerators."""
    import psutil

    version = platform.python_version()
    if sys.version_info[:2] == (3, 11):
        yield ok("python", version)
    else:
        remedy = "make the environment with Python 3.11"
        yield problem("python", f"{version}, expected 3.11", remedy)
    yield ok("cores", str(len(os.sched_getaffinity(0))))
    memory_gib = psutil.virtual_memory().available / 2**30
    yield _amount("memory", memory_gib, MIN_MEMORY_GIB, "use a smaller batch, close programs")
    free_gib = shutil.disk_usage(work_dir).free / 2**30
    yield _amount("disk", free_gib, MIN_DISK_GIB, "free some space, or work on another disk")
    if shutil.which("nvidia-smi"):
        yield ok("accelerator", "NVIDIA driver found; install the extra `gpu` to use it")
    else:
        yield ok("accelerator", "none; training and serving use the CPU")


def check_versions() -> Iterator[Finding]:
    """Findings about installed packages, compared with the requirements of this project."""
    from packaging.requirements import Requirement

    try:
        requirements = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        yield problem(PROJECT, "not installed", REINSTALL)
        return
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_requirement(requirement)
    yield from _check_imports()


def _check_requirement(requirement) -> Finding:
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return problem(requirement.name, f"not installed, expected {requirement}", REINSTALL)
    if not requirement.specifier.contains(installed, prereleases=True):
        expected = str(requirement.specifier)
        return problem(requirement.name, f"{installed}, expected {expected}", REINSTALL)
    if requirement.name == "tensorflow-io":
        installed += (
            "; its native libraries do not load beside this TensorFlow and are not used, its "
            "spectrogram operations are plain TensorFlow"
        )
    return ok(requirement.name, installed)


def _check_imports() -> Iterator[Finding]:
    for name in ("tensorflow", "tensorflow_text", "av", "google_crc32c"):
        try:
            importlib.import_module(name)
        except Exception as error:
            yield problem(f"import {name}", f"{type(error).__name__}: {error}", REINSTALL)
        else:
            yield ok(f"import {name}", "works")


def _amount(subject: str, gib: float, minimum_gib: float, remedy: str) -> Finding:
    if gib >= minimum_gib:
        return ok(subject, f"{gib:.1f} GiB free")
    return note(subject, f"{gib:.1f} GiB free, {minimum_gib:g} GiB are comfortable", remedy)
