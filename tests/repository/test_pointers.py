"""Where a system's README says that something is checked, there is such a test."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
READMES = sorted((ROOT / "mm_models").glob("*/README.md"))
# A file, its test, and further tests of the same file: `a/test_b.py::test_c`, `::test_d`.
POINTER = re.compile(r"`((?:[\w/]+\.py)?)::(\w+)`")


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_pointers_lead_to_tests(path):
    file, missing, found = "", [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        for name, test in POINTER.findall(line):
            file, found = name or file, found + 1
            source = ROOT / "tests" / file
            if not source.is_file() or f"def {test}(" not in source.read_text(encoding="utf-8"):
                missing.append(f"{file}::{test}")
    assert not missing, missing
    assert found
