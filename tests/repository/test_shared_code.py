"""Shared code names no system, and asks of tasks and models only what is declared.

A paper may be cited: in a docstring or comment, spelled as it spells itself, and with the place
that is meant: in the `Source:` paragraph, or as "VATT, section 4.1" or "the released VATT code".
All else that names a system speaks of the system.
"""

import ast
import io
import re
import tokenize

import pytest

from tests.repository import source_tree

NAMES = "|".join(source_tree.SYSTEMS)
CAMEL_NAMES = "|".join(system.capitalize() for system in source_tree.SYSTEMS)
# `_` parts words; a capital ends one: vatt_task, VattTask and VATT, but neither import nor simple.
MENTION = re.compile(rf"(?<![A-Za-z])(?i:{NAMES})(?![A-Za-z])|(?<![A-Z])(?:{CAMEL_NAMES})(?![a-z])")
# Papers spell themselves with more than one capital, or a capital and a digit.
PAPER = rf"\b(?=[A-Z]\w*[A-Z0-9])(?i:{NAMES})\b"
PLACE = r"(?:section|appendix|appendices|table|figure|equation)s?\b"
CITATION = re.compile(
    rf"{PAPER}, {PLACE}|\bthe released {PAPER} code|{PAPER}'s (?:released|reference) code"
)
SOURCE = re.compile(r"^Source: .*?(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
# Of these, shared code asks what `mm_models/contracts.py` and the base classes declare.
DECLARED = ("task", "model", "run")


def _spoken(text: str) -> str:
    """What is left of a docstring or comment without its citations."""
    text = "\n".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    without_sources = SOURCE.sub(lambda found: re.sub(PAPER, "", found[0]), text)
    # Lines may break within a citation.
    return CITATION.sub("", " ".join(without_sources.split()))


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Lines on which docstrings begin."""
    bodies = [getattr(node, "body", None) for node in ast.walk(tree)]
    firsts = [body[0] for body in bodies if isinstance(body, list) and body]
    return {
        node.lineno
        for node in firsts
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def mentions(source: str) -> list[tuple[int, str]]:
    """(line, text) where a source names a system and cites no paper."""
    docstrings = _docstring_lines(ast.parse(source))
    found, comment = [], []

    def look(line: int, text: str) -> None:
        if mention := MENTION.search(text):
            found.append((line, text[max(mention.start() - 30, 0) : mention.end() + 30]))

    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            comment.append((line, token.string))
        elif token.type != tokenize.NL and comment:
            # Lines of one comment are read together.
            look(comment[0][0], _spoken("\n".join(text for _, text in comment)))
            comment = []
        if token.type == tokenize.STRING and line in docstrings:
            look(line, _spoken(ast.literal_eval(token.string)))
        elif token.type in (tokenize.NAME, tokenize.STRING):
            look(line, token.string)
    return found


def test_no_shared_file_names_a_system():
    assert len(source_tree.SYSTEMS) >= 3
    wrong = [
        f"{source_tree.name_of(path)}:{line} {text}"
        for path in source_tree.shared_sources()
        for line, text in mentions(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    (
        "from mm_models.vatt import model",
        "vatt_weights = 1",
        "class VattKeys:\n    x = 1",
        "name = 'configs/pali/templates.yaml'",
        "note = 'Source: VATT, section 4.1'",
        'def f():\n    """Groups of IMP."""',
        '"""Does it.\n\nSource: VATT, section 2.\n\nFor VATT it is doubled."""',
        "# PaLI asks for this.\nx = 1",
        "# The vatt, section 4.1, folder, and pali's.\nx = 1",
    ),
)
def test_what_names_a_system_is_found(source):
    assert mentions(source)


@pytest.mark.parametrize(
    "source",
    (
        "import simple, pal\nimport os",
        'def f():\n    """Does it (VATT, section 4.1).\n\n    Source: IMP and its code.\n    """',
        "# As in the released IMP\n# code, and VATT's reference code.\nx = 1",
    ),
)
def test_papers_may_be_cited(source):
    assert not mentions(source)


def undeclared_access(tree: ast.Module) -> list[int]:
    """Lines that ask a task, model or run by `getattr` or `hasattr` for a name."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        and ast.unparse(node.args[0]).rpartition(".")[2].lstrip("_") in DECLARED
        and isinstance(node.args[1], ast.Constant)
    ]


def test_tasks_and_models_are_asked_for_what_they_declare():
    wrong = [
        f"{source_tree.name_of(path)}:{line}"
        for path in source_tree.shared_sources()
        for line in undeclared_access(source_tree.tree_of(path))
    ]
    assert not wrong, wrong
    asked = "hasattr(self._model, 'spaces')\ngetattr(run.task, 'names', ())\ngetattr(args, 'model')"
    assert undeclared_access(ast.parse(asked)) == [1, 2]
