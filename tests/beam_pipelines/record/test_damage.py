"""`mmstack inspect` on record folders that are damaged in every way: a table or one sentence."""

import json
import random
import shutil

import pytest

from beam_pipelines.record import contract
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, tree, write_clip, write_lines


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    write_clip(folder / "a.mp4")
    items = [{"id": f"{n}", "media": "a.mp4", "split": "train"} for n in range(3)]
    write_lines(folder / "m.jsonl", items)
    output = folder / "records"
    assert main(["preprocess", f"--manifest={folder}/m.jsonl", f"--output={output}", *TINY]) == 0
    return output


@pytest.fixture
def data(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "records")


def inspect(data, capsys, *options: str) -> str:
    """What is printed; a mistake is one sentence that names a file of the folder."""
    capsys.readouterr()
    code = main(["inspect", f"--data={data}", *options])
    printed = capsys.readouterr()
    if code:
        assert code == 2 and printed.err.count("\n") == 1
        assert printed.err.startswith("mmstack inspect: ") and str(data) in printed.err
    return printed.err


def damaged(content: bytes, draws: random.Random) -> bytes:
    kind, place = draws.choice(("flip", "cut", "swap", "grow")), draws.randrange(len(content))
    if kind == "flip":
        return (
            content[:place]
            + bytes([content[place] ^ 1 << draws.randrange(8)])
            + content[place + 1 :]
        )
    if kind == "cut":
        return content[:place]
    if kind == "swap":
        return content[place:] + content[:place]
    return content + content[place:]


@pytest.mark.parametrize("ending", [".tfrecord", ".index", contract.DATASET_INFO])
def test_any_damage_is_a_table_or_a_sentence(data, capsys, ending):
    draws = random.Random(13)
    (name,) = (name for name in tree(data) if name.endswith(ending))
    content = (data / name).read_bytes()
    found = 0
    for _ in range(150):
        (data / name).write_bytes(damaged(content, draws))
        found += bool(inspect(data, capsys))
        inspect(data, capsys, "--key=2#0")
    assert found > 30
    (data / name).unlink()
    assert inspect(data, capsys)


def test_a_damaged_shard_is_named_with_the_place(data, capsys):
    shard = next(data.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    said = inspect(data, capsys)
    assert f"{shard} at byte 0: " in said and "mmstack doctor" in said


@pytest.mark.parametrize("offset", [2**63 - 1, 2**40, 5], ids=str)
def test_an_index_asks_for_no_more_than_there_is(data, capsys, offset):
    index = next(data.glob("*.index"))
    content = index.read_bytes()
    index.write_bytes(content[:8] + offset.to_bytes(8, "little") + content[16:])
    assert "damaged" in inspect(data, capsys)
    index.write_bytes(content[:8] + offset.to_bytes(8, "little"))
    assert "damaged" in inspect(data, capsys)


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {}},
        {"splits": []},
        {"splits": {"train": None}},
        {"splits": {"train": {"num_records": 1, "shards": [{}]}}},
        {"counts": {}},
        {"media": None},
        {"name": 3},
    ],
    ids=str,
)
def test_a_description_of_the_wrong_form_is_named(data, capsys, change):
    path = data / contract.DATASET_INFO
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert f"{path} is damaged" in inspect(data, capsys)
