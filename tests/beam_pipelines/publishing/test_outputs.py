"""Outputs of jobs that run side by side, die, or meet: on a disk and in a store without folders."""

import contextlib
import json
import multiprocessing
import os

import pytest

from beam_pipelines import files
from beam_pipelines.publishing import claim as claims
from beam_pipelines.publishing.claim import claimed
from beam_pipelines.publishing.outputs import appearing_files, appearing_folder
from mm_models.errors import UserError
from tests.beam_pipelines.pipelines import memory_filesystem

LAST = "dataset_info.json"


@pytest.fixture(params=["disk", "store"])
def place(request, tmp_path):
    memory_filesystem.clear()
    return str(tmp_path) if request.param == "disk" else "memory://bucket/out"


def write(folder: str, content: bytes) -> None:
    for name in ("train-0", LAST):
        files.write_bytes(files.join(folder, name), content)


def job(output: str, content: bytes, **options) -> None:
    with appearing_folder(output, LAST, **options) as work:
        write(work, content)


def names(place: str) -> list[str]:
    return [path[len(place) + 1 :] for path, _ in files.list_files(place)]


def abandon(output: str, owner: dict) -> str:
    """Leaves what a killed job leaves; returns its folder."""
    folder = f"{files.parent(output)}/.tmp-{output.rsplit('/', 1)[-1]}-{'ab' * 16}"
    files.make_folder(f"{folder}/unfinished")
    files.write_bytes(f"{folder}/unfinished/left", b"")
    files.write_json(f"{folder}/owner.json", claims._this_process() | owner)
    return folder


def age(path: str, seconds: float) -> None:
    modified = files.modified_seconds(path) - seconds
    if files.is_remote(path):
        memory_filesystem.MODIFIED[path] = modified
    else:
        os.utime(path, (modified, modified))


@pytest.mark.parametrize(
    ("first", "second"), [("d", "d-val"), ("d-val", "d"), ("d", "d-" + "0" * 32)]
)
def test_a_job_leaves_the_work_of_other_outputs_alone(place, first, second):
    with appearing_folder(f"{place}/{first}", LAST) as work:
        write(work, b"1")
        job(f"{place}/{second}", b"2")
        assert files.exists(f"{work}/train-0")
    for output, content in ((first, b"1"), (second, b"2")):
        assert files.read_bytes(f"{place}/{output}/{LAST}") == content
    assert len(names(place)) == 4


def test_the_second_of_two_jobs_with_one_output_is_refused_before_it_works(place):
    with appearing_folder(f"{place}/d", LAST) as work:
        write(work, b"1")
        with pytest.raises(UserError, match=f"is being written by process {os.getpid()} on"):
            job(f"{place}/d", b"2")
        with pytest.raises(UserError, match="is being written by process"):
            job(f"{place}/d", b"2", overwrite=True)
    assert files.read_bytes(f"{place}/d/{LAST}") == b"1"
    assert len(names(place)) == 2


def test_a_job_on_another_machine_is_alive_as_long_as_its_lease(place):
    folder = abandon(f"{place}/d", {"machine": "another", "host": "far", "pid": 2**22 + 1})
    with pytest.raises(UserError, match="on far"):
        job(f"{place}/d", b"2")
    assert files.exists(f"{folder}/unfinished/left")
    age(f"{folder}/owner.json", claims.LEASE_SECONDS + 1)
    job(f"{place}/d", b"2")
    assert names(place) == [f"d/{LAST}", "d/train-0"]


@pytest.mark.parametrize("owner", [{"pid": 2**22 + 1}, {"started": "1"}], ids=["gone", "reused"])
def test_a_dead_job_of_this_machine_is_removed_at_once(place, owner):
    abandon(f"{place}/d", owner)
    job(f"{place}/d", b"2")
    assert names(place) == [f"d/{LAST}", "d/train-0"]


def test_a_lease_is_renewed_while_the_job_runs(place, monkeypatch):
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.1)
    with claimed(f"{place}/d") as claim:
        before = files.modified_seconds(claim.owner_file)
        deadline = claims.threading.Event()
        while files.modified_seconds(claim.owner_file) == before:
            assert not deadline.wait(0.01)
        claim.check()
        files.delete_tree(claim.folder)
        with pytest.raises(UserError, match="took it for dead"):
            claim.check()


@pytest.mark.parametrize(
    ("change", "overwrite"),
    [("appears", False), ("appears", True), ("changes", True), ("vanishes", True)],
)
def test_what_came_to_the_output_meanwhile_is_kept(place, change, overwrite):
    """As another machine does whose clock or network kept it from seeing the claim."""
    output = f"{place}/d"
    if change != "appears":
        job(output, b"0")
    with (
        pytest.raises(UserError, match="made or changed by something else"),
        appearing_folder(output, LAST, overwrite=overwrite) as work,
    ):
        write(work, b"1")
        files.delete_tree(output)
        if change != "vanishes":
            files.make_folder(output)
            write(output, b"2222")
    found = names(place)
    if change == "vanishes":
        assert found == []
    else:
        assert found == [f"d/{LAST}", "d/train-0"]
        assert files.read_bytes(f"{output}/{LAST}") == b"2222"


def test_overwriting_replaces_and_failing_keeps(place):
    job(f"{place}/d", b"1")
    with (
        contextlib.suppress(ZeroDivisionError),
        appearing_folder(f"{place}/d", LAST, overwrite=True),
    ):
        raise ZeroDivisionError
    assert files.read_bytes(f"{place}/d/{LAST}") == b"1"
    job(f"{place}/d", b"2", overwrite=True)
    assert files.read_bytes(f"{place}/d/{LAST}") == b"2"
    assert len(names(place)) == 2
    with pytest.raises(UserError, match="add --overwrite"):
        job(f"{place}/d", b"3")


def test_an_output_that_a_dead_job_had_moved_aside_comes_back(tmp_path):
    folder = abandon(f"{tmp_path}/d", {"pid": 2**22 + 1})
    (tmp_path / folder / "replaced").mkdir()
    write(f"{folder}/replaced", b"old")
    with pytest.raises(UserError, match="add --overwrite"):
        job(f"{tmp_path}/d", b"2")
    assert names(str(tmp_path)) == [f"d/{LAST}", "d/train-0"]
    assert files.read_bytes(f"{tmp_path}/d/{LAST}") == b"old"


def _race(output: str, number: int, start, results) -> None:
    start.wait()
    try:
        job(output, b"%d" % number)
        results.put(number)
    except UserError as error:
        results.put(str(error))


def test_of_jobs_that_begin_at_once_at_most_one_writes(tmp_path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    jobs = [
        context.Process(target=_race, args=(f"{tmp_path}/d", number, start, results))
        for number in range(4)
    ]
    for each in jobs:
        each.start()
    ends = [results.get(timeout=30) for _ in jobs]
    for each in jobs:
        each.join()
    winners = [end for end in ends if isinstance(end, int)]
    assert len(winners) <= 1, ends
    expected = [f"d/{LAST}", "d/train-0"] if winners else []
    assert names(str(tmp_path)) == expected
    if winners:
        assert files.read_bytes(f"{tmp_path}/d/{LAST}") == b"%d" % winners[0]


def test_files_appear_together_and_only_where_nothing_else_did(place):
    def make(content: bytes, **options) -> None:
        with appearing_files(f"{place}/m.txt", **options) as work:
            for name in ("m.txt", "m.extra", ".tmp-scratch"):
                files.write_bytes(f"{work}/{name}", content)

    make(b"1")
    assert names(place) == ["m.extra", "m.txt"]
    with pytest.raises(UserError, match="add --overwrite"):
        make(b"2")
    make(b"2", overwrite=True)
    with (
        pytest.raises(UserError, match="made or changed by something else"),
        appearing_files(f"{place}/m.txt", overwrite=True) as work,
    ):
        files.write_bytes(f"{work}/m.txt", b"3")
        files.write_bytes(f"{place}/m.txt", b"4444")
    assert files.read_bytes(f"{place}/m.txt") == b"4444"
    assert names(place) == ["m.extra", "m.txt"]


def test_many_files_of_a_store_are_renamed_in_lists_and_the_last_one_alone():
    memory_filesystem.clear()
    with appearing_folder("memory://bucket/out/d", LAST) as work:
        for number in range(500):
            files.write_bytes(f"{work}/{number:03d}", b"")
        files.write_bytes(f"{work}/{LAST}", b"{}")
    assert memory_filesystem.RENAMES == [500, 1]
    assert json.loads(files.read_bytes(f"memory://bucket/out/d/{LAST}")) == {}
