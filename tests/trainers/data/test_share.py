"""A share of a data set: which records, the same everywhere, nested, and part of the identity."""

import dataclasses

import numpy as np
import pytest

from mm_models.errors import UserError
from tests.trainers.data.inputs import input_config, training_batches, video_input
from tests.trainers.record_factory import Recipe, write_record_folder
from tests.trainers.toy_task import ToyTaskConfig
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.config import DatasetConfig
from trainers.data.examples import describe
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.pipeline import build_eval_dataset
from trainers.data.plan import input_contents, plan
from trainers.data.reading.index import RecordIndex, choose_records
from trainers.loop.identity import check_identity, identity_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    recipe = Recipe(splits={"train": 40, "test": 8}, num_frames=2, num_shards=3)
    return write_record_folder(tmp_path_factory.mktemp("records"), recipe)


def of_share(folder, share, seed=0, **fields):
    dataset = DatasetConfig(path=folder, share=share, share_seed=seed)
    return input_config(folder, datasets={"some": dataset}, video=video_input(), **fields)


def test_the_choice_is_sized_nested_and_seeded():
    small, large = choose_records(1000, 0.1, 0), choose_records(1000, 0.3, 0)
    assert (len(small), len(large)) == (100, 300)
    assert set(small) < set(large)
    assert np.all(np.diff(small) > 0)
    # Independent draws share a tenth of their records.
    assert len(set(small) & set(choose_records(1000, 0.1, 1))) < 30
    assert 30 < np.sum(small < 500) < 70
    assert len(choose_records(3, 0.01, 0)) == 1


def test_the_index_reads_only_the_chosen_records(folder):
    whole = RecordIndex.open(DatasetConfig(path=folder))
    some = RecordIndex.open(DatasetConfig(path=folder, share=0.25))
    chosen = choose_records(40, 0.25, 0)
    assert some.num_records == 10
    assert some.read(range(10)) == whole.read(chosen)
    assert [some.locate(n) for n in range(10)] == [whole.locate(int(n)) for n in chosen]


def test_batches_resume_anywhere_and_describe_themselves(folder):
    config = of_share(folder, 0.2, labels=LabelsInputConfig())
    batches = training_batches(config, 4)
    seen = np.concatenate([batch["example_id"] for batch in batches])
    assert sorted(seen[:8]) == list(range(8)) == sorted(seen[8:16])
    resumed = training_batches(config, 1, start_step=3)[0]
    np.testing.assert_array_equal(resumed["video"], batches[3]["video"])
    keys = {f"train/{number:06d}#0" for number in choose_records(40, 0.2, 0)}
    assert {info.key for info in describe(range(8), config)} == keys
    labels = {int(info.example_id): info.label_indices[0] for info in describe(range(8), config)}
    for number, label in zip(batches[0]["example_id"], batches[0]["label"], strict=True):
        assert labels[int(number)] == label[0]
    evaluated = [batch["example_mask"].numpy().sum() for batch in build_eval_dataset(config)]
    assert evaluated == [8]


def test_the_plan_knows_the_share(folder):
    assert "8 records" in str(plan(of_share(folder, 0.2)))


def test_a_run_that_resumes_may_not_change_its_share(folder):
    def identity(*share):
        streams = {"main": StreamConfig(input=of_share(folder, *share))}
        return identity_of(ExperimentConfig(task=ToyTaskConfig(), streams=streams), input_contents)

    saved = identity(0.2, 0)
    assert check_identity(identity(0.2, 0), saved, ToyTaskConfig, "ckpt-1") == []
    assert check_identity(identity(1.0, 1), identity(1.0, 0), ToyTaskConfig, "ckpt-1") == []
    for share, text in (((0.2, 1), "share_seed 0 → 1"), ((0.3, 0), "share 0.2 → 0.3")):
        with pytest.raises(UserError, match=text):
            check_identity(identity(*share), saved, ToyTaskConfig, "ckpt-1")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_that_cannot_be_is_refused(folder, share):
    config = of_share(folder, 0.5)
    config.datasets["some"] = dataclasses.replace(config.datasets["some"], share=share)
    with pytest.raises(UserError, match=r"datasets.some.share is"):
        plan(config)
