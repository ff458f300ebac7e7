"""Order in the rooms: folders of a readable size, names that are used once, no circles."""

import ast
import collections

import pytest

from tests.repository import source_tree

MAX_FILES = 15


def test_no_folder_holds_more_files_than_can_be_seen_at_once():
    counts = collections.Counter(
        source_tree.name_of(path.parent)
        for path in source_tree.sources(*source_tree.ALL)
        if path.name != "__init__.py"
    )
    full = {folder: count for folder, count in counts.items() if count > MAX_FILES}
    assert not full, full


@pytest.mark.parametrize("room", [*source_tree.ROOMS, "benchmarks"])
def test_public_classes_of_a_room_have_names_of_their_own(room):
    places = collections.defaultdict(list)
    for path in source_tree.sources(room):
        for node in source_tree.tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(source_tree.name_of(path))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice, twice


def test_no_files_import_each_other():
    graph = source_tree.import_graph()
    assert len(graph) > 100
    assert not source_tree.circles(graph)


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}
    assert source_tree.circles(graph) == [["b", "c"], ["e"]]
