"""Weights from another run: what is taken, resampled, left out, and what is refused."""

import copy
import json
import pathlib
import re

import numpy as np
import pytest

from mm_models.backbones.vit import Vit, VitConfig
from mm_models.backbones.vit_positions import resample_positions
from mm_models.errors import UserError
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.config import named_config
from mm_models.vatt.model import VattModel
from tests.export.signatures.vatt_model import write_run
from trainers import distribution, initialization
from trainers.config.loading import load_config
from trainers.config.schema import InitializeConfig
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import RecordInputs

FROM = InitializeConfig(model_dir="runs/pretrained")
YAML = """
task:
  name: vatt_classification
  model: {{video: {{size: debug}}}}
streams:
  clips:
    input:
      batch_size: 8
      labels: {{num_labels: 1}}
      datasets: {{records: {{path: {folder}/records}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center, flip: false}}
initialize: {{pretrained: {{model_dir: {folder}/run}}}}
trainer: {{ema: {{decay: 0.9}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("pretrained")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def source(folder):
    start = InitializeConfig(model_dir=str(folder / "run"))
    return initialization.read_sources({"one": start, "none": InitializeConfig()})["one"]


@pytest.fixture(scope="module")
def shapes(source):
    return {path: value.shape for path, value in source.values.items()}


@pytest.fixture(scope="module")
def unified_shapes():
    return shapes_of(VattModel(named_config("unified_debug")))


def shapes_of(model):
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def classifier(name="debug", modality="video", **fields):
    config = named_config(name)
    for path, value in fields.items():
        part, _, field = path.partition("__")
        setattr(getattr(config, part) if field else config, field or part, value)
    return VattClassifier(config, modality, 5)


def parts(paths):
    return {path.split("/")[0] for path in paths}


def test_a_tower_is_taken_and_only_the_classifier_is_new(source):
    model = classifier()
    done = initialization.initialize(model, source, FROM)
    found = done.match
    assert parts(found.loaded) == {"video_tower"}
    assert found.new == ["classifier/kernel", "classifier/bias"]
    assert parts(found.left_over) == {"audio_tower", "text_tower", "head"}
    assert not found.resized
    for variable in model.weights[:-2]:
        np.testing.assert_array_equal(variable, source.values[variable.path])
    report = str(done)
    assert report.startswith(f"initialised from {source.checkpoint} (step 7)\n")
    assert f"loaded {len(found.loaded)}: video_tower ({len(found.loaded)})" in report
    assert "skipped, new here 2: classifier/kernel, classifier/bias" in report
    assert json.loads(initialization.to_json({"a": done}))["a"]["match"]["loaded"] == found.loaded


def test_one_modality_of_the_agnostic_encoder_is_taken(unified_shapes):
    found = initialization.match(classifier("unified_debug", "audio"), unified_shapes, FROM)
    assert found.new == ["classifier/kernel", "classifier/bias"]
    assert {"encoder/stack", "encoder/audio_tokens"} <= {
        "/".join(path.split("/")[:2]) for path in found.loaded
    }
    assert {"encoder/video_tokens", "encoder/text_post_projection"} <= {
        "/".join(path.split("/")[:2]) for path in found.left_over
    }


def test_the_whole_model_is_taken_by_its_like(source, shapes):
    model = VattModel(named_config("debug"))
    found = initialization.initialize(model, source, FROM).match
    assert len(found.loaded) == len(shapes)
    assert not (found.new or found.left_over or found.resized)


def test_position_tables_of_another_length_are_resampled(source):
    small, large = classifier(), classifier(video__height=32, video__num_frames=8)
    initialization.initialize(small, source, FROM)
    found = initialization.initialize(large, source, FROM).match
    tokens = "video_tower/video_tokens/positions"
    assert found.resized == {
        f"{tokens}/temporal_embeddings": (2, 4),
        f"{tokens}/vertical_embeddings": (2, 4),
    }
    # What the small model's layer reads off its own tables for the larger clip.
    expected, rows = (
        model.video_tower.tokens.positions.rows((4, 4, 2)) for model in (small, large)
    )
    np.testing.assert_allclose(rows, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "said", "remedy"),
    [
        ({"video__num_layers": 3}, "video_tower/stack/block_2/", {"may_be_new": "block_2/"}),
        ({"video__num_layers": 1}, "video_tower/stack/block_1/", {"may_be_left_over": "block_1/"}),
        ({"video__mlp_dim": 32}, "wi/kernel [32, 64] instead of [32, 32]", {"may_be_new": "/mlp/"}),
        (
            {"preset": "reference_code"},
            "positions/layer_norm/gamma",
            {"may_be_new": "positions/layer_norm"},
        ),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused_unless_allowed(shapes, fields, said, remedy):
    model = classifier(**fields)
    field, pattern = next(iter(remedy.items()))
    with pytest.raises(UserError, match=f"initialize.source.{field}") as error:
        initialization.match(model, shapes, FROM)
    assert said in str(error.value) and "'runs/pretrained'" in str(error.value)
    allowed = copy.deepcopy(FROM)
    getattr(allowed, field).append(pattern)
    found = initialization.match(model, shapes, allowed)
    assert any(re.search(pattern, path) for path in [*found.new, *found.left_over])


def test_another_variant_and_nothing_at_all_are_refused(shapes, unified_shapes):
    with pytest.raises(UserError, match="encoder/"):
        initialization.match(classifier("unified_debug"), shapes, FROM)
    with pytest.raises(UserError, match="video_tower/"):
        initialization.match(classifier(), unified_shapes, FROM)
    anything = InitializeConfig(model_dir="runs/pretrained", may_be_new=["."])
    with pytest.raises(UserError, match="nothing in initialize.source.model_dir"):
        initialization.match(classifier(), unified_shapes, anything)


def test_a_source_fills_one_part_of_the_model_and_nothing_else(source, shapes):
    model = VattModel(named_config("debug"))
    before = {variable.path: variable.numpy() for variable in model.weights}
    part = InitializeConfig(model_dir="runs/pretrained", part="audio_tower")
    done = initialization.initialize(model, source, part)
    assert parts(done.match.loaded) == {"audio_tower"}
    assert not (done.match.new or done.match.left_over)
    assert str(done).startswith("audio_tower initialised from")
    for variable in model.weights:
        expected = source.values if variable.path in done.match.loaded else before
        np.testing.assert_array_equal(variable, expected[variable.path])
    nowhere = InitializeConfig(model_dir="runs/pretrained", part="audio")
    with pytest.raises(UserError, match=r"part is 'audio'; the parts of the model are \['audio_t"):
        initialization.match(model, shapes, nowhere)


@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_weights_and_averages_of_a_new_run_start_there(folder, source, strategy):
    path = folder / "finetune.yaml"
    path.write_text(YAML.format(folder=folder), encoding="utf-8")
    config = load_config([str(path)])
    config.runtime.distribution_strategy = strategy
    config.runtime.num_virtual_devices = 2 if strategy == "mirrored" else 0
    strategy, task = prepare(config, RecordInputs())
    assembly = assemble(config, RecordInputs(), strategy, task, from_source=True)
    assert len(assembly.initialized["pretrained"].match.new) == 2
    trained = assembly.model.trainable_variables
    for variable, average in zip(trained, assembly.averages.values, strict=True):
        np.testing.assert_array_equal(average.numpy(), variable.numpy())
        if not variable.path.startswith("classifier/"):
            for copy_of in distribution_copies(strategy, variable.value):
                np.testing.assert_array_equal(copy_of, source.values[variable.path])


def distribution_copies(strategy, value):
    if distribution.is_single(strategy):
        return [value.numpy()]
    return [local.numpy() for local in strategy.experimental_local_results(value)]


def test_a_source_that_is_not_there_is_refused(tmp_path, folder):
    with pytest.raises(UserError, match=r"initialize.a.model_dir is .* which has no config.yaml"):
        initialization.check_sources({"a": InitializeConfig(model_dir=str(tmp_path))})
    with pytest.raises(UserError, match="best has no checkpoint"):
        initialization.check_sources({"a": InitializeConfig(f"{folder}/run", checkpoint="best")})


def test_a_vision_transformer_for_larger_images_keeps_all_but_its_positions():
    small, large = (Vit(VitConfig(size="debug", image_size=side)) for side in (32, 48))
    values = {variable.path: variable.numpy() for variable in small.weights}
    source = initialization.TrainedWeights("ckpt-1", 1, values)
    done = initialization.initialize(large, source, InitializeConfig(model_dir="runs/small"))
    table = "vit/positions/table"
    assert done.match.resized == {table: (16, 36)} and not done.match.new
    for variable in large.weights:
        if variable.path != table:
            np.testing.assert_array_equal(variable.numpy(), values[variable.path])
    expected = resample_positions(values[table], (6, 6))
    np.testing.assert_array_equal(large.positions.table.numpy(), expected)
