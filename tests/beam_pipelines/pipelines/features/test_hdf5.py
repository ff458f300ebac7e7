"""Features that other programs stored become records; what is damaged or foreign is said."""

import json

import h5py
import numpy as np
import pytest

from beam_pipelines.pipelines.features.stored_arrays import steps_of_array
from beam_pipelines.record import contract, reading
from mmstack import main

DIM = 6


def grid(num_steps: int, rows: int = 3, columns: int = 3, seed: int = 0) -> np.ndarray:
    """float32[steps, rows, columns, dim]."""
    random = np.random.default_rng(seed)
    return random.normal(size=(num_steps, rows, columns, DIM)).astype(np.float32)


def with_positions(values: np.ndarray) -> np.ndarray:
    """[steps * rows * columns, dim + 5], column by column as the reference writes it."""
    num_steps, rows, columns, _ = values.shape
    found = [
        [*values[t, y, x], t, x / columns, (x + 1) / columns, y / rows, (y + 1) / rows]
        for t in range(num_steps)
        for y in range(rows)
        for x in range(columns)
    ]
    return np.array(found, np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 4), (1, 2), (1, 1)])
def test_every_form_is_the_same_grid(rows, columns):
    values = grid(4, rows, columns)
    flat = with_positions(values)
    forms = [values, flat, flat.reshape(4, rows, columns, DIM + 5), values.astype(np.float64)]
    for stored in forms:
        found = steps_of_array(stored)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)


def test_vectors_without_positions_are_one_region_a_step():
    pooled = grid(5, 1, 1).reshape(5, DIM)
    np.testing.assert_array_equal(steps_of_array(pooled), pooled[:, None, None])
    # Where the positions are not those of a grid they are taken for features.
    wrong = with_positions(grid(2))
    wrong[4, -1] += 0.2
    assert steps_of_array(wrong).shape == (18, 1, 1, DIM + 5)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((2, 9, 4)), "their shape is"),
        (np.zeros((0, 9)), "their shape is"),
        (np.array([["a"]]), "and no numbers"),
        (np.full((2, 9), np.nan), "not finite"),
    ],
)
def test_other_arrays_are_refused(stored, message):
    with pytest.raises(ValueError, match=message):
        steps_of_array(stored)


def write(path, segments: dict[str, dict], **attributes) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, content in segments.items():
            group = file.create_group(name)
            for key, value in content.items():
                group[key] = value


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two files of a training split with three good segments, and one of a validation split."""
    folder = tmp_path_factory.mktemp("stored")
    good = {"features": with_positions(grid(2)), "caption": "stir the soup", "image_id": 7}
    write(
        folder / "train" / "data_part_0.h5",
        {
            "cook/0": good,
            "cook/1": {"features": grid(3, 6, 6, seed=1), "caption": b"serve \xc3\xbc"},
            "cook/2": {"features": np.zeros((2, 9, 4), np.float32), "caption": "a"},
            "cook/3": {"caption": "no features"},
            "wide/0": {"features": grid(1, 3, 3)[..., :4], "caption": "fewer numbers"},
            "wide/1": {"features": grid(1, 1, 1).reshape(1, DIM), "caption": "one region"},
            "wide/2": {"features": grid(1), "caption": np.arange(3)},
        },
    )
    write(folder / "train" / "data_part_1.h5", {"cook/0": good, "fry/0": {"features": grid(1)}})
    many = {"film/0": {"features": grid(2, seed=2), "caption": "first"}}
    many |= {f"film/{k}": {"caption": text} for k, text in ((1, "second"), (10, "third"))}
    write(folder / "val" / "data_part_0.h5", many, **{"multi-caption": True})
    return folder


def run(stored, output, *options: str) -> int:
    splits = [f"--from_hdf5={split}={stored}/{split}" for split in ("train", "val")]
    flags = [f"--output={output}", "--workers=1", "--max_rejected_share=1", *options]
    return main(["features", *splits, *flags])


@pytest.fixture(scope="module")
def made(stored, tmp_path_factory):
    output = tmp_path_factory.mktemp("records") / "from_hdf5"
    assert run(stored, output, "--encoder=slowfast", "--rate_hz=2") == 0
    return output


def test_segments_become_records(made):
    found = {
        c[contract.CLIP_KEY][0]: (c, lists) for c, lists in reading.iterate(str(made), "train")
    }
    assert set(found) == {b"cook/0#0", b"cook/1#0", b"fry/0#0"}
    context, lists = found[b"cook/0#0"]
    assert context[contract.CAPTION] == [b"stir the soup"]
    assert context[contract.FEATURE_SHAPE] == [3, 3, DIM]
    assert context[contract.FEATURE_ENCODER] == [b"slowfast@hdf5"]
    assert (context[contract.CLIP_START], context[contract.CLIP_END]) == ([0], [1_000_000])
    assert lists[contract.FEATURE_TIMESTAMPS] == [[0], [500_000]]
    stored = with_positions(grid(2)).reshape(2, -1, DIM + 5)
    for step in range(2):
        values = np.array(lists[contract.CLIP_FEATURES][step]).reshape(-1, DIM)
        np.testing.assert_allclose(values, stored[step, :, :DIM], rtol=1e-6)
        places = np.array(lists[contract.FEATURE_POSITIONS][step]).reshape(-1, 5)
        np.testing.assert_allclose(places, stored[step, :, DIM:], rtol=1e-6)
    context, lists = found[b"cook/1#0"]
    assert context[contract.CAPTION] == ["serve ü".encode()]
    pooled = grid(3, 6, 6, seed=1)[0].reshape(3, 2, 3, 2, DIM).mean(axis=(1, 3))
    np.testing.assert_allclose(lists[contract.CLIP_FEATURES][0], pooled.ravel(), atol=1e-6)
    assert found[b"fry/0#0"][0][contract.CAPTION] == []


def test_a_video_with_many_captions_is_one_record(made):
    ((context, lists),) = reading.iterate(str(made), "val")
    assert context[contract.CLIP_KEY] == [b"film/0#0"]
    assert context[contract.CAPTION] == [b"first", b"second", b"third"]
    assert len(lists[contract.CLIP_FEATURES]) == 2


def test_what_cannot_be_used_is_rejected_and_counted(made):
    info = reading.read_dataset_info(str(made))
    rejects = [json.loads(line) for line in (made / "rejects.jsonl").read_text().splitlines()]
    assert {(reject["id"], reject["code"]) for reject in rejects} == {
        ("cook/0", "duplicate_id"),
        ("cook/2", "bad_features"),
        ("cook/3", "file_missing"),
        ("wide/0", "bad_features"),
        ("wide/1", "too_small"),
        ("wide/2", "bad_captions"),
    }
    counts = info["counts"]
    assert (counts["items"], counts["records"], counts["rejected_items"]) == (10, 4, 6)
    assert info["clip_features"]["dim"] == DIM and info["clip_features"]["rate_hz"] == 2.0
    assert all(reject["media"].endswith(reject["id"]) for reject in rejects)


def test_one_vector_a_step(tmp_path):
    write(tmp_path / "in" / "a.h5", {"v/0": {"features": grid(3, 1, 1).reshape(3, DIM)}})
    flags = [f"--from_hdf5=test={tmp_path}/in", f"--output={tmp_path}/out", "--workers=1"]
    assert main(["features", *flags, "--rows=1", "--columns=1"]) == 0
    ((context, lists),) = reading.iterate(f"{tmp_path}/out", "test")
    assert context[contract.FEATURE_SHAPE] == [1, 1, DIM]
    assert lists[contract.FEATURE_POSITIONS][2] == [2, 0, 1, 0, 1]
    assert context[contract.FEATURE_ENCODER] == [b"unknown@hdf5"]


def test_damaged_data_sets_are_rejected(tmp_path, capsys):
    path = tmp_path / "in" / "a.h5"
    write(path, {"v/0": {"features": grid(2)}})
    with h5py.File(path, "a") as file:
        data = file.create_dataset("v/1/features", data=grid(40), chunks=True, fletcher32=True)
        start = data.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start] ^= 1
    path.write_bytes(content)
    flags = [f"--from_hdf5=train={tmp_path}/in", f"--output={tmp_path}/out", "--workers=1"]
    assert main(["features", *flags, "--max_rejected_share=0.5"]) == 0
    assert "reject corrupt_container" in capsys.readouterr().out


MISTAKES = {
    "both": (["--records=r", "--from_hdf5=train=x"], "give either --records with frames, or"),
    "neither": ([], "give either --records with frames, or"),
    "no encoder": (["--records=r"], "--encoder is empty"),
    "another split": (["--from_hdf5=dev=x"], "--from_hdf5 dev=x: expected one of train, val, test"),
    "no folder": (["--from_hdf5=train=x"], "there are no .h5 or .hdf5 files in that folder"),
    "frames": (["--from_hdf5=train=x", "--keep_frames"], "--keep_frames is for --records"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["features", *options, "--output=out"]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_foreign_files_end_the_job_before_it_begins(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    flags = [f"--from_hdf5=train={tmp_path}/in", f"--output={tmp_path}/out", "--workers=1"]
    (tmp_path / "in" / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"cut")
    assert main(["features", *flags]) == 2
    assert "a.h5 is no whole HDF5 file" in capsys.readouterr().err
    write(tmp_path / "in" / "a.h5", {"table": {"values": np.zeros(3)}})
    assert main(["features", *flags]) == 2
    assert "a.h5 holds no groups of videos with groups of segments" in capsys.readouterr().err
    write(tmp_path / "in" / "a.h5", {"v/0": {"caption": "alone"}})
    assert main(["features", *flags]) == 2
    assert "no segment has features that can be read (v/0 of" in capsys.readouterr().err
