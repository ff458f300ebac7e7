"""`mmstack features`: the values of an encoder, in the right records, with nothing lost."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from beam_pipelines.pipelines.features.encoder import FrozenEncoder
from beam_pipelines.pipelines.features.features_job import GridConfig
from beam_pipelines.pipelines.features.record_groups import groups_of_shard
from beam_pipelines.pipelines.features.record_processor import RecordProcessor
from beam_pipelines.record import contract, reading
from mmstack import main
from tests.beam_pipelines.media.small_media import tree, write_lines
from tests.beam_pipelines.pipelines.features.toy_encoders import mean_colors, write_encoder
from tests.trainers.data import inputs
from tests.trainers.record_factory import Recipe, write_record_folder
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.data.pipeline import build_eval_dataset

ROOT = pathlib.Path(__file__).parents[4]
CLIPS = ROOT.parent / "shared" / "data" / "av_clips"
# 17 frames at 8 Hz: three steps, of 8, 8 and 1 frames. The fourth and eighth record have none.
RECIPE = Recipe(splits={"train": 8, "test": 3}, num_shards=2, without_video=4)
OPTIONS = ["--workers=1", "--max_rejected_share=0.5"]


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> str:
    return write_record_folder(tmp_path_factory.mktemp("in") / "records", RECIPE)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("encoder") / "colors" / "7").parent)


def run(records, encoder, output, *options: str) -> int:
    paths = [f"--records={records}", f"--encoder={encoder}", f"--output={output}"]
    return main(["features", *paths, *OPTIONS, *options])


@pytest.fixture(scope="module")
def made(records, encoder, tmp_path_factory) -> pathlib.Path:
    output = tmp_path_factory.mktemp("out") / "with_features"
    assert run(records, encoder, output, "--rows=2", "--columns=2") == 0
    return output


def decoded(lists: dict) -> np.ndarray:
    """uint8[frames, height, width, 3], by the decoder that the job uses."""
    import io

    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(f[0]))) for f in lists[contract.FRAMES]])


def test_features_are_those_of_the_frames_of_each_step(records, made):
    before = {c[contract.CLIP_KEY][0]: lists for c, lists in reading.iterate(records, "train")}
    for context, lists in reading.iterate(str(made), "train"):
        frames = decoded(before[context[contract.CLIP_KEY][0]])
        assert context[contract.FEATURE_SHAPE] == [2, 2, 3]
        assert context[contract.FEATURE_RATE] == [1.0]
        steps = np.array(lists[contract.CLIP_FEATURES]).reshape(3, 2, 2, 3)
        for step, part in enumerate((frames[:8], frames[8:16], frames[16:])):
            # Means of two by two of the encoder's four by four cells.
            np.testing.assert_allclose(steps[step], mean_colors(part, 2), rtol=1e-5)
        assert lists[contract.FEATURE_TIMESTAMPS] == [[0], [1_000_000], [2_000_000]]
        places = np.array(lists[contract.FEATURE_POSITIONS]).reshape(3, 4, 5)
        assert places[2].tolist() == [
            [2, 0, 0.5, 0, 0.5],
            [2, 0.5, 1, 0, 0.5],
            [2, 0, 0.5, 0.5, 1],
            [2, 0.5, 1, 0.5, 1],
        ]


def test_records_keep_place_and_words_and_lose_frames_and_sound(records, made):
    for split in ("train", "test"):
        before = [c for c, lists in reading.iterate(records, split) if contract.FRAMES in lists]
        after = list(reading.iterate(str(made), split))
        key = contract.CLIP_KEY
        assert sorted(c[key][0] for c in before) == sorted(c[key][0] for c, _ in after)
        texts = {c[key][0]: c[contract.CAPTION] for c in before}
        for context, lists in after:
            assert context[contract.CAPTION] == texts[context[key][0]]
            assert context[contract.NUM_FRAMES] == context[contract.SAMPLE_RATE] == [0]
            assert set(lists) == {
                contract.CLIP_FEATURES,
                contract.FEATURE_POSITIONS,
                contract.FEATURE_TIMESTAMPS,
            }


def test_everything_is_accounted_for_and_described(records, made, encoder):
    info = reading.read_dataset_info(str(made))
    counts = info["counts"]
    assert (counts["items"], counts["records"], counts["rejected_items"]) == (11, 9, 2)
    rejects = [json.loads(line) for line in (made / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["id"], reject["code"]) for reject in rejects] == [
        ("train/000003#0", "no_frames"),
        ("train/000007#0", "no_frames"),
    ]
    told = info["clip_features"]
    assert (told["rows"], told["columns"], told["dim"], told["rate_hz"]) == (2, 2, 3, 1.0)
    assert told["encoder"].startswith("colors/7@") and len(told["encoder"]) == len("colors/7@") + 16
    (context, _) = next(reading.iterate(str(made), "test"))
    assert context[contract.FEATURE_ENCODER] == [told["encoder"].encode()]
    assert info["media"]["frame_rate_hz"] is info["media"]["sample_rate_hz"] is None
    assert info["labels"] == reading.read_dataset_info(records)["labels"]
    assert info["made_from"] == "synthetic" and info["config"]["features"]["rate_hz"] == 1.0
    statistics = json.loads((made / "statistics.json").read_text())
    assert statistics["rejects"] == {"no_frames": 2}
    assert statistics["splits"]["train"]["numbers"]["steps_per_clip"]["mean"] == 3
    assert statistics["splits"]["train"]["numbers"]["captions_per_clip"]["count"] == 6


def test_shards_do_not_depend_on_batches(records, encoder, made, tmp_path):
    grid = ["--rows=2", "--columns=2"]
    assert run(records, encoder, tmp_path / "r", *grid, "--batch_size=1") == 0
    for pattern in ("*.tfrecord", "*.index", "rejects.jsonl", "statistics.json"):
        assert tree(tmp_path / "r", pattern) == tree(made, pattern)


def test_steps_of_several_clips_share_batches(records):
    class Counting:
        """Gives zeros, and counts what it is given."""

        batch_size, num_frames, height, width = None, 2, 8, 8
        sizes: list[int] = []
        clips_of = FrozenEncoder.clips_of

        def maps(self, clips):
            self.sizes.append(len(clips))
            return np.zeros((len(clips), 3, 3, 1), np.float32)

    shard = reading.split_shards(records, "train")[0]
    (group,) = groups_of_shard("train", shard)
    with RecordProcessor(GridConfig(batch_size=5), "x@0", Counting) as processor:
        outcomes = [outcome for outcome, _ in processor.outcomes(group)]
    # Four records, of which the last has no frames; three steps of each other one.
    assert Counting.sizes == [5, 4]
    assert [len(outcome.records) for outcome in outcomes] == [1, 0, 1, 1]


def test_what_is_kept_and_how_often_steps_come(records, encoder, tmp_path):
    kept = ["--rate_hz=4", "--rows=1", "--columns=4", "--keep_frames", "--keep_sound"]
    assert run(records, encoder, tmp_path / "r", *kept) == 0
    before = {c[contract.CLIP_KEY][0]: (c, lists) for c, lists in reading.iterate(records, "test")}
    for context, lists in reading.iterate(str(tmp_path / "r"), "test"):
        old_context, old_lists = before[context[contract.CLIP_KEY][0]]
        assert old_context.items() <= context.items() and old_lists.items() <= lists.items()
        assert len(lists[contract.CLIP_FEATURES]) == 9  # 17 frames, two a step.
        assert context[contract.FEATURE_SHAPE] == [1, 4, 3]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((None, None, None, None), tf.uint8),
        ((2, None, None, None), tf.uint8),
        ((None, 2, 16, 16), tf.float32),
    ],
    ids=["any", "two at once", "floats of one size"],
)
def test_encoders_get_what_their_signature_says(records, tmp_path, shape, dtype):
    encoder = write_encoder(tmp_path / "encoder", shape=shape, dtype=dtype)
    assert run(records, encoder, tmp_path / "r", "--rows=2", "--columns=2") == 0
    before = {c[contract.CLIP_KEY][0]: lists for c, lists in reading.iterate(records, "test")}
    for context, lists in reading.iterate(str(tmp_path / "r"), "test"):
        frames = decoded(before[context[contract.CLIP_KEY][0]])[:8]
        # The middles of two halves of eight frames.
        expected = mean_colors(frames if dtype == tf.uint8 else frames[[2, 6]], 2)
        if dtype != tf.uint8:
            expected = expected * 2 / 255 - 1
        found = np.array(lists[contract.CLIP_FEATURES][0]).reshape(2, 2, 3)
        # Resizing is exact within areas of one colour, and mixes some pixels at their edge.
        np.testing.assert_allclose(found, expected, atol=0.02 if dtype != tf.uint8 else 1e-3)


def test_numbers_that_are_not_finite_are_rejected(records, tmp_path, capsys):
    encoder = write_encoder(tmp_path / "encoder", scale=float("inf"))
    assert run(records, encoder, tmp_path / "r", "--max_rejected_share=1") == 2
    assert "none of its 11 items gave a record (bad_features 9, no_frames 2)" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "r").exists()


def test_the_input_part_reads_what_the_job_writes(made):
    features = FeaturesInputConfig(num_steps=2, rows=2, columns=2, dim=3)
    config = inputs.input_config(str(made), features=features, batch_size=6)
    (batch,) = build_eval_dataset(config).as_numpy_iterator()
    for row, (_, lists) in enumerate(reading.iterate(str(made), "train")):
        stored = np.array(lists[contract.CLIP_FEATURES][:2], np.float32).reshape(-1, 3)
        np.testing.assert_array_equal(batch["features"][row], stored)


MISTAKES = {
    "no records": (["--records=none"], "none/dataset_info.json cannot be read"),
    "no encoder": (["--encoder=none"], "--encoder none holds no saved_model.pb"),
    "a grid that is too fine": (["--rows=5"], "its maps have 4x4 cells and 5x3 are asked for"),
    "no steps": (["--rate_hz=0"], "--rate_hz 0.0: expected a positive number"),
    "a short window": (["--window_seconds=0.5"], "--window_seconds 0.5 is shorter than a step"),
    "no regions": (["--columns=0"], "--columns 0: expected a positive number"),
    "an output that is there": ([], "exists; name another path or add --overwrite"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_before_any_work(
    records, encoder, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "r"
    if not options:
        output.mkdir()
    assert run(records, encoder, output, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path != output]


def test_models_without_maps_are_refused_with_what_they_have(records, tmp_path, capsys):
    other = write_encoder(tmp_path / "other", name="embed")
    assert run(records, other, tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert "has no signature 'feature_maps', only embed" in said
    renamed = write_encoder(tmp_path / "renamed", argument="frames")
    assert run(records, renamed, tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert "takes frames: uint8" in said and "it must take video: uint8 or float[batch" in said
    fixed = write_encoder(tmp_path / "failing", cells=5)
    assert run(records, fixed, tmp_path / "r") == 2
    assert "fails on clips of shape (1, 8, 32, 32, 3)" in capsys.readouterr().err


def test_records_without_frames_are_refused(encoder, tmp_path, capsys):
    bare = write_record_folder(tmp_path / "bare", Recipe(splits={"train": 2}, without_video=1))
    assert run(bare, encoder, tmp_path / "r") == 2
    assert "holds no frames that can be read" in capsys.readouterr().err


def test_a_damaged_record_ends_the_job_and_is_named(encoder, tmp_path, capsys):
    records = write_record_folder(tmp_path / "records", Recipe(splits={"train": 4}, num_frames=2))
    shard = pathlib.Path(records, contract.shard_name("train", 1, 2))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert run(records, encoder, tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert f"{shard} at byte " in said and "mmstack doctor" in said and "Traceback" not in said
    assert not (tmp_path / "r").exists()


def test_model_information_that_is_damaged_is_named(records, tmp_path, capsys):
    encoder = write_encoder(tmp_path / "encoder")
    (encoder / "assets.extra").mkdir()
    (encoder / "assets.extra" / "model_info.json").write_text("{")
    assert run(records, encoder, tmp_path / "r") == 2
    assert "model_info.json cannot be read" in capsys.readouterr().err


@pytest.mark.slow
def test_worker_processes_give_the_same_records(encoder, tmp_path):
    """The path of several processes, on enough records that the command chooses it."""
    recipe = Recipe(splits={"train": 70}, num_frames=3)
    records = write_record_folder(tmp_path / "records", recipe)
    for workers in (1, 2):
        command = [sys.executable, "-m", "mmstack", "features", f"--records={records}"]
        command += [f"--encoder={encoder}", f"--output={tmp_path}/{workers}"]
        done = subprocess.run(
            [*command, f"--workers={workers}"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "items in = with records + rejected (70 = 70 + 0)" in done.stdout
    assert tree(tmp_path / "1", "*.tfrecord") == tree(tmp_path / "2", "*.tfrecord")


@pytest.mark.skipif(not CLIPS.exists(), reason="no ../shared/data")
def test_real_clips_go_the_whole_way(encoder, tmp_path, capsys):
    names = ("friday.mp4", "crystal.webm")
    items = [{"id": name, "media": str(CLIPS / name), "split": "train"} for name in names]
    write_lines(tmp_path / "m.jsonl", items)
    small = ["--frame_rate_hz=4", "--short_side=64", "--no_audio", "--workers=1"]
    flags = [f"--manifest={tmp_path}/m.jsonl", f"--output={tmp_path}/records", *small]
    assert main(["preprocess", *flags, "--max_seconds=30", "--max_rejected_share=0"]) == 0
    fixed = write_encoder(tmp_path / "fixed", shape=(None, 2, 28, 28), cells=7)
    assert run(tmp_path / "records", fixed, tmp_path / "r") == 0
    assert main(["inspect", f"--data={tmp_path}/r"]) == 0
    said = capsys.readouterr().out
    assert "the layout is that of `mmstack features`" in said
    assert "features: 3x3x3 at 1 Hz, by fixed@" in said
    for context, lists in reading.iterate(str(tmp_path / "r"), "train"):
        seconds = (context[contract.CLIP_END][0] - context[contract.CLIP_START][0]) / 1e6
        assert abs(len(lists[contract.CLIP_FEATURES]) - seconds) <= 1
        assert {len(step) for step in lists[contract.CLIP_FEATURES]} == {27}
