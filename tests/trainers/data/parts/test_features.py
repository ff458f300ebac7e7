"""Stored features become tokens: in order, with positions and masks, or a sentence says why not."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from beam_pipelines.record import contract
from mm_models.errors import UserError
from tests.trainers.data import inputs
from tests.trainers.record_factory import (
    Recipe,
    feature_positions,
    feature_values,
    write_record_folder,
)
from trainers.data.config import DatasetConfig
from trainers.data.first_batch import check_input
from trainers.data.opening import OpenedInput
from trainers.data.parts.base import build_parts
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.data.pipeline import build_eval_dataset

# Clips of two, five and seven steps, of a grid that is wider than it is high.
RECIPE = Recipe(
    splits={"train": 6}, num_shards=1, num_frames=1, features=(2, 3, 4), feature_steps=(2, 5, 7)
)
NUM_STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return write_record_folder(tmp_path_factory.mktemp("features"), RECIPE)


def config(folder, **fields):
    given = {"num_steps": NUM_STEPS, "rows": 2, "columns": 3, "dim": 4} | fields
    return inputs.input_config(folder, features=FeaturesInputConfig(**given), batch_size=6)


def first_batch(given) -> dict[str, np.ndarray]:
    (batch,) = build_eval_dataset(given).as_numpy_iterator()
    return batch


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        # Of five steps the middles of four equal parts are 0.6, 1.9, 3.1 and 4.4.
        ("truncate", [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3]]),
        ("uniform", [[0, 1], [0, 1, 3, 4], [0, 2, 4, 6]]),
    ],
)
def test_steps_are_kept_padded_and_numbered(folder, sampling, kept):
    batch = first_batch(config(folder, sampling=sampling))
    for row in range(6):
        steps = kept[row % 3]
        values = feature_values(row, RECIPE)[steps].reshape(-1, 4)
        np.testing.assert_array_equal(batch["features"][row][: len(values)], values)
        places = feature_positions(len(steps), RECIPE).reshape(-1, 5)
        np.testing.assert_array_equal(batch["feature_positions"][row][: len(values)], places)
        assert batch["feature_token_mask"][row].sum() == len(values)
        for name in ("features", "feature_positions", "feature_token_mask"):
            assert (
                batch[name].shape[1] == NUM_STEPS * 6 and not batch[name][row][len(values) :].any()
            )
    assert batch["features_mask"].tolist() == [1.0] * 6


def test_positions_of_a_grid_of_three_by_three():
    """As the reference computes them: x0, x1, y0, y1 of a region, row by row."""
    from mm_models.signal.region_grid import grid_positions

    places = grid_positions(1, 3, 3)[..., 1:].reshape(9, 4)
    np.testing.assert_allclose(places[0], [0, 1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(places[1], [1 / 3, 2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(places[8], [2 / 3, 1, 2 / 3, 1], rtol=1e-6)


def test_one_vector_a_step_is_the_mean_of_its_regions(folder):
    batch = first_batch(config(folder, rows=0, columns=0))
    assert batch["features"].shape == (6, NUM_STEPS, 4)
    expected = feature_values(1, RECIPE)[:NUM_STEPS].mean(axis=(1, 2))
    np.testing.assert_allclose(batch["features"][1], expected)
    np.testing.assert_array_equal(
        batch["feature_positions"][0], [[0, 0, 1, 0, 1], [1, 0, 1, 0, 1], [0] * 5, [0] * 5]
    )
    assert batch["feature_token_mask"][0].tolist() == [1, 1, 0, 0]


def test_foreign_features_need_no_shape_and_no_positions(tmp_path):
    names = {
        contract.CLIP_FEATURES: "RGB/feature/floats",
        contract.FEATURE_SHAPE: "unread/shape",
        contract.FEATURE_POSITIONS: "unread/positions",
    }
    recipe = dataclasses.replace(RECIPE, key_names=names, with_info=False)
    write_record_folder(tmp_path, recipe)
    mapped = {contract.CLIP_FEATURES: "RGB/feature/floats"}
    found = DatasetConfig(path=f"{tmp_path}/train-*", feature_names=mapped)
    given = dataclasses.replace(config(tmp_path), datasets={"found": found})
    batch, ours = (
        first_batch(given),
        first_batch(config(write_record_folder(tmp_path / "o", RECIPE))),
    )
    for name in ours:
        np.testing.assert_array_equal(batch[name], ours[name])


def test_rows_without_features_are_told(tmp_path, folder):
    bare = write_record_folder(tmp_path, Recipe(splits={"train": 6}, num_shards=1, num_frames=1))
    both = {"a": DatasetConfig(path=folder), "b": DatasetConfig(path=bare, may_lack=["features"])}
    given = dataclasses.replace(config(folder), datasets=both, batch_size=12)
    batch = first_batch(given)
    assert batch["features_mask"].sum() == 6
    assert not batch["features"][batch["features_mask"] == 0].any()
    with pytest.raises(UserError, match="no 'features/floats'.*, which `mmstack features` adds"):
        check_input(config(bare))


def test_another_shape_is_refused_before_the_first_step(tmp_path, folder):
    with pytest.raises(UserError) as caught:
        check_input(config(folder, rows=3))
    assert (
        "features/shape is 2x3x4 (rows, columns, dim), and input.features asks for 3x3 regions of "
        "4 numbers" in str(caught.value)
    )
    with pytest.raises(UserError, match="asks for any regions of 8 numbers"):
        check_input(config(folder, rows=0, columns=0, dim=8))
    info = pathlib.Path(write_record_folder(tmp_path / "told", RECIPE)) / contract.DATASET_INFO
    told = json.loads(info.read_text()) | {"clip_features": {"rows": 2, "columns": 3, "dim": 4}}
    info.write_text(json.dumps(told))
    OpenedInput.open(config(str(info.parent)))
    with pytest.raises(UserError, match=f"{info.parent}: features/shape is 2x3x4 .* 2x2 regions"):
        OpenedInput.open(config(str(info.parent), columns=2))


def test_a_record_that_is_no_whole_steps_is_named(tmp_path):
    names = {contract.FEATURE_SHAPE: "unread"}
    folder = write_record_folder(tmp_path, dataclasses.replace(RECIPE, key_names=names))
    with pytest.raises(
        UserError, match=r"train-00000.*features/floats has [0-9]+ numbers, no whole steps"
    ):
        check_input(config(folder, rows=5, columns=5))


def test_fields_are_checked(folder):
    for field, value, words in [
        ("num_steps", 0, "num_steps is 0"),
        ("dim", 0, "dim is 0"),
        ("rows", 0, "rows is 0"),
        ("sampling", "random", "sampling is 'random'"),
    ]:
        with pytest.raises(UserError, match=words):
            OpenedInput.open(config(folder, **{field: value}))


def test_what_a_batch_holds_in_numbers_and_pictures(folder):
    given = config(folder)
    batch, part = first_batch(given), build_parts(given)["features"]
    assert part.facts(batch) == {
        "rows that have it": 1.0,
        "lowest value": 0.0,
        "highest value": feature_values(5, RECIPE)[NUM_STEPS - 1].max(),
        "steps of a row": pytest.approx((2 + 4 + 4) / 3),
    }
    assert not part.faults(batch, 0)
    (fault,) = part.faults(batch | {"features": np.full((1, 24, 4), np.nan)}, 0)
    assert "no numbers at all" in fault
    import tensorflow as tf

    tensors = {name: tf.constant(value) for name, value in batch.items()}
    (panel,) = part.panels(tensors, [("first", ["a digit"])], titled=True)
    strengths = part._strengths(tensors, 1)
    assert strengths.shape == (NUM_STEPS, 2, 3, 3) and panel.image.dtype == np.uint8
    # Later steps hold larger numbers, and bright is large.
    assert strengths[3].astype(int).sum() > strengths[0].astype(int).sum()
