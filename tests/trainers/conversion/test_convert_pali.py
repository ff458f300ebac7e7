"""Published backbones in, a run of PaLI that starts from them out."""

import json
import pathlib
import types

import numpy as np
import pytest

import mmstack
from mm_models.errors import UserError
from mm_models.pali.config import PaliConfig
from mm_models.pali.model import PaliModel
from tests import batteries
from tests.mm_models.text.pieces import write_model
from trainers import initialization, runs, weight_export
from trainers.config.loading import load_config
from trainers.config.schema import InitializeConfig

CONFIG = pathlib.Path(__file__).parents[3] / "configs" / "pali" / "pretrain_17b.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`vit.npz` of big_vision and `t5` of Hugging Face."""
    path = tmp_path_factory.mktemp("backbones")
    write_model(path / "pieces.model")
    config = PaliConfig("debug")
    config.language.vocabulary_size = 420
    config.vision.image_size = 16
    model = PaliModel(config)
    batteries.shake(model)
    for part, target, name in (
        (model.vision, "big_vision", "vit.npz"),
        (model.language, "huggingface", "t5"),
    ):
        run = types.SimpleNamespace(model=part, step=3, config={})
        weight_export.export_run(run, target, str(path / name))
    np.savez(
        path / "weights.npz",
        **{weight.path.replace("/", ":"): weight.numpy() for weight in model.weights},
    )
    return path


def overrides(folder, *more):
    streams = ("images", "text")
    return [
        "task.model.size=debug",
        "task.model.language.vocabulary_size=420",
        "task.model.vision.image_size=16",
        *(f"streams.images.input.video.{edge}=16" for edge in ("height", "width")),
        *(f"streams.{name}.input.prompted.vocabulary={folder}/pieces.model" for name in streams),
        *more,
    ]


def convert(folder, run, *sources):
    sets = [f"--set={one}" for one in overrides(folder)]
    paths = [f"--checkpoint={folder / name}" for name in sources]
    command = ["convert", f"--config_file={CONFIG}", f"--model_dir={folder / run}"]
    return mmstack.main([*command, *paths, *sets])


def build(folder, *more):
    config = load_config([str(CONFIG)], overrides(folder, *more))
    return runs.build_model(runs.build_task(config), config)


def test_both_backbones_start_a_run(folder, capsys):
    assert convert(folder, "start", "vit.npz", "t5") == 0
    report = capsys.readouterr().out
    assert "vit.npz, big_vision into Vit" in report and "huggingface into T5" in report
    assert "in no source, as they start: 2\n  projection/kernel\n  projection/bias" in report
    published = np.load(folder / "weights.npz")
    start = f"initialize.backbones.model_dir={folder}/start"
    config = load_config([str(CONFIG)], overrides(folder, start))
    initialization.check_sources(config.initialize)
    sources = initialization.read_sources(config.initialize)
    model = build(folder)
    done = initialization.initialize(
        model, sources["backbones"], config.initialize["backbones"], name="backbones"
    )
    assert not (done.match.new or done.match.left_over or done.match.resized)
    assert "loaded" in str(done) and "vision (" in str(done) and "language (" in str(done)
    for weight in model.weights:
        if not weight.path.startswith("projection/"):
            expected = published[weight.path.replace("/", ":")]
            np.testing.assert_array_equal(weight.numpy(), expected, err_msg=weight.path)


def test_a_run_goes_out_with_its_tokenizer_and_comes_back(folder, capsys):
    if not (folder / "start").exists():
        assert convert(folder, "start", "vit.npz", "t5") == 0
    out = folder / "hub"
    words = ["convert", "--to=huggingface", f"--model_dir={folder / 'start'}", f"--output={out}"]
    assert mmstack.main(words) == 2
    message = capsys.readouterr().err
    assert "2 weight(s) of this model: projection/kernel, projection/bias; leave" in message
    assert not out.exists()
    assert mmstack.main([*words, "--shard_size=5"]) == 2
    assert "--shard_size is '5'; write a whole number" in capsys.readouterr().err
    assert mmstack.main([*words, "--allow=^projection/", "--shard_size=20KB"]) == 0
    report = capsys.readouterr().out
    assert "left out: 2\n  projection/kernel\n  projection/bias" in report
    assert "no tokenizer" not in report
    assert (out / "language/spiece.model").read_bytes() == (folder / "pieces.model").read_bytes()
    for name in (
        "language/tokenizer_config.json",
        "language/generation_config.json",
        "language/config.json",
        "language/model.safetensors.index.json",
        "vision/preprocessor_config.json",
    ):
        assert json.loads((out / name).read_text())
    assert convert(folder, "again", "hub/vision", "hub/language") == 0
    one, other = (runs.load_run(str(folder / name)).model for name in ("start", "again"))
    for first, second in zip(one.weights, other.weights, strict=True):
        if not first.path.startswith("projection/"):
            np.testing.assert_array_equal(first.numpy(), second.numpy(), err_msg=first.path)


@pytest.mark.slow
def test_one_part_alone_and_what_is_missing(folder, capsys):
    if not (folder / "start").exists():
        assert convert(folder, "start", "vit.npz", "t5") == 0
    for part in ("vision", "language"):
        start = InitializeConfig(model_dir=f"{folder}/start", part=part)
        source = initialization.read_sources({part: start})[part]
        model = build(folder)
        before = {weight.path: weight.numpy() for weight in model.weights}
        initialization.initialize(model, source, start)
        for weight in model.weights:
            taken = weight.path.startswith(f"{part}/")
            expected = source.values if taken else before
            np.testing.assert_array_equal(weight.numpy(), expected[weight.path])
    deeper = build(folder, "task.model.language.num_decoder_layers=3")
    with pytest.raises(UserError, match="lacks, .* language/decoder/block_2/"):
        initialization.initialize(deeper, source, start)
    sets = [f"--set={one}" for one in overrides(folder, "task.model.vision.depth=3")]
    command = ["convert", f"--config_file={CONFIG}", f"--model_dir={folder / 'none'}"]
    assert mmstack.main([*command, f"--checkpoint={folder / 'vit.npz'}", *sets]) == 2
    assert "depth" in capsys.readouterr().err and not (folder / "none").exists()
