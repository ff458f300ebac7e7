"""Files that travel with a run, found by the fields that declare them."""

import dataclasses

from mm_models.config_tools import travelling_file, travelling_files, with_travelling_files


@dataclasses.dataclass
class Dictionary:
    words: str = travelling_file("write one")
    vocabulary: str = "of no consequence"


@dataclasses.dataclass
class Whole:
    roles: Dictionary = dataclasses.field(default_factory=Dictionary)
    others: dict[str, Dictionary] = dataclasses.field(default_factory=dict)
    left_out: Dictionary | None = None
    grammar: str = travelling_file("ask for it")


def test_declared_files_are_found_at_any_depth_and_no_others():
    config = Whole(others={"a": Dictionary("a.txt"), "b": Dictionary()}, grammar="g.txt")
    found = [(file.place, file.path, file.remedy) for file in travelling_files(config)]
    assert found == [("others.a.words", "a.txt", "write one"), ("grammar", "g.txt", "ask for it")]
    assert list(travelling_files(Whole())) == []
    assert [file.path for file in travelling_files({"x": config})] == ["a.txt", "g.txt"]


def test_paths_are_replaced_in_a_copy():
    config = Whole(others={"a": Dictionary("a.txt")}, grammar="g.txt")
    moved = with_travelling_files(config, lambda path: f"assets/{path}")
    assert (moved.others["a"].words, moved.grammar) == ("assets/a.txt", "assets/g.txt")
    assert moved.others["a"].vocabulary == "of no consequence"
    assert (config.others["a"].words, config.grammar) == ("a.txt", "g.txt")
