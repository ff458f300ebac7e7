"""A part of another package is loaded, checked, planned, read and batched by code unaware of it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.errors import UserError
from tests.trainers.record_factory import write_shard
from trainers import registry

ROOT = pathlib.Path(__file__).parents[4]
COUNT = 7
YAML = """
name: regions
task: {{name: grounding_toy}}
streams:
  main:
    input:
      batch_size: 4
      datasets: {{r: {{path: {folder}}}}}
      regions: {{num_regions: 3}}
      labels: {{}}
"""


def _record(number: int) -> bytes:
    example = tf.train.SequenceExample()
    context = example.context.feature
    # Every fourth one has no regions.
    regions = ["one", "three"][: 0 if number % 4 == 3 else 2]
    context["phrase/text"].bytes_list.value[:] = [phrase.encode() for phrase in regions]
    context["phrase/boxes"].float_list.value[:] = [number / 8] * (4 * len(regions))
    context["phrase/mark"].bytes_list.value[:] = [np.ones(1, np.float32).tobytes()]
    context[contract.LABEL_INDEX].int64_list.value[:] = [number]
    return example.SerializeToString()


def _write(folder: pathlib.Path, **info) -> None:
    folder.mkdir()
    name = contract.shard_name("train", 0, 1)
    write_shard(str(folder / name), [_record(number) for number in range(COUNT)])
    shards = {"train": {"num_records": COUNT, "shards": [{"file": name, "num_records": COUNT}]}}
    (folder / contract.DATASET_INFO).write_text(json.dumps({"splits": shards, **info}))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process finds in which the package is installed."""
    site = tmp_path_factory.mktemp("site")
    installed = site / "regions_toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: regions-toy\nVersion: 1.0\n")
    entry = "grounding_toy = tests.trainers.data.regions.system:SYSTEM"
    (installed / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{entry}\n")
    folder = site / "records"
    _write(folder, regions=True)
    _write(folder / "bare")
    (site / "experiment.yaml").write_text(YAML.format(folder=folder))
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainers.data.regions.read", str(site / "experiment.yaml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_planned(found):
    assert "regions: at most 3" in found["plan"]
    assert "boxes: float32[4, 3, 4]" in found["plan"] and "label: int32[4, 1]" in found["plan"]
    assert found["specs"] is True
    looked, _, labels, regions = found["facts"]
    assert looked == "  r: of 7 records, labels 100%, regions 86%"
    assert "regions of 4 rows: rows that have it " in regions and "largest box 0." in regions
    assert labels.startswith("  labels of 4 rows: rows that have it 1, lowest class ")


def test_its_batches_hold_what_the_records_do(found):
    rows = {
        name: [row for batch in found["evaluated"] for row in batch[name]]
        for name in found["evaluated"][0]
    }
    assert rows["example_id"] == [*range(COUNT), -1]
    assert [row[0] for row in rows["label"]] == [*range(COUNT), -1]
    assert rows["regions_mask"] == [1, 1, 1, 0, 1, 1, 1, 0]
    for number, (lengths, boxes) in enumerate(
        zip(rows["phrase_length"], rows["boxes"], strict=True)
    ):
        has = number % 4 != 3
        assert lengths == ([3, 5, 0] if has else [0, 0, 0])
        size = number / 8 if has else 0.0
        assert boxes == [[size] * 4, [size] * 4, [0.0] * 4]


def test_its_draws_are_a_function_of_seed_and_step(found):
    first, second = found["train"]
    assert found["later"] == [second]
    exact = np.array([number / 8 for number in first["example_id"]])[:, None]
    has = np.array(first["regions_mask"]) > 0
    moved = (np.array(first["boxes"])[:, 0] - exact)[has]
    assert (moved >= 0).all() and (moved < 0.5).all() and len(np.unique(moved)) == moved.size


def test_mistakes_name_its_fields(found):
    unknown, wrong, bare = found["mistakes"]
    assert "unknown key streams.main.input.regions.colour" in unknown
    assert wrong == "streams.x.regions.num_regions is 0; it must be at least 1"
    assert bare.startswith("streams.x.datasets.r: ") and "preprocess it with regions" in bare


def test_a_name_that_is_taken_is_refused(monkeypatch):
    brings = registry.System("", "", "", input_parts={"video": "elsewhere.config:Video"})
    monkeypatch.setitem(registry.SYSTEMS, "other", brings)
    with pytest.raises(UserError, match="'other' brings an input part 'video' .* already is"):
        registry.input_parts()


@pytest.mark.parametrize("reference", ["no_such_package.config:Boxes", "mm_models.checks:Boxes"])
def test_a_registration_that_names_nothing_is_told_in_a_sentence(reference, monkeypatch):
    brings = registry.System("", "", "", input_parts={"gone": reference})
    monkeypatch.setitem(registry.SYSTEMS, "other", brings)
    with pytest.raises(UserError, match=f"{reference} cannot be imported .*; reinstall"):
        registry.resolve(registry.input_parts()["gone"])
