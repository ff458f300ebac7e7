"""IMP configs: sizes, expert layers, mistakes, and that every field matters."""

import dataclasses

import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from mm_models.errors import UserError
from mm_models.imp import config as imp_config
from mm_models.imp import sizes
from mm_models.imp.config import ImpConfig, resolve
from mm_models.imp.model import ImpModel
from mm_models.layers.mixture_of_experts.options import ExpertOptions, RoutingOptions
from tests.mm_models.imp.small import MODALITIES, inputs, small, with_experts

SHAPE_FIELDS = {
    "size": "digits",
    "num_layers": 2,
    "dim": 48,
    "mlp_dim": 40,
    "qk_norm": True,
    "num_experts": 3,
    "modalities": ["video", "text"],
    "video.patches": {"default": [2, 8, 8], "fine": [2, 4, 4]},
    "video.table_rows": [4, 8, 4],
    "audio.patch": [4, 40],
    "audio.table_rows": [8, 2],
    "waveform.patch_samples": 64,
    "waveform.table_rows": 32,
    "text.vocabulary_size": 70,
    "text.max_tokens": 20,
    "space.kind": "joint",
    "space.dim": 20,
    "space.hidden_dim": 24,
    "temperature.learned": False,
    "pooling": "token",
    "classifiers": {"digits": 10},
}
EXPERT_SHAPE_FIELDS = {"num_expert_layers": 3, "expert_placement": "uniform", "num_experts": 4}
BEHAVIOUR_FIELDS = {
    "num_heads": 4,
    "pooling": "max",
    "dropout_rate": 0.4,
    "audio.sample_rate_hz": 15600,
    "audio.window_ms": 20.0,
    "audio.step_ms": 8.0,
    "audio.low_hz": 500.0,
    "audio.high_hz": 4000.0,
    "audio.scaling": "standard",
}
EXPERT_FIELDS = {
    "experts.router": "tokens_choose",
    "experts.capacity_factor": 0.5,
    "experts.capacity_rounding": "ceil_multiple_of_4",
    "experts.min_capacity": 35,
    "experts.group_size": 4,
    "experts.ignore_padding": True,
}


def change(config: ImpConfig, path: str, value) -> ImpConfig:
    head, _, name = path.rpartition(".")
    if not head:
        return dataclasses.replace(config, **{name: value})
    part = dataclasses.replace(getattr(config, head), **{name: value})
    return dataclasses.replace(config, **{head: part})


def shapes_of(config: ImpConfig) -> list:
    with tf.Graph().as_default():
        model = ImpModel(config)
        return [(w.path, tuple(w.shape), w.trainable) for w in model.weights]


def test_every_shape_field_changes_the_weights():
    plain = {modality: small([modality]) for modality in MODALITIES}
    references = {modality: shapes_of(config) for modality, config in plain.items()}
    for path, value in SHAPE_FIELDS.items():
        part = path.split(".")[0] if path.split(".")[0] in plain else "text"
        assert shapes_of(change(plain[part], path, value)) != references[part], path
    several = small(["waveform", "text"])
    assert shapes_of(change(several, "shared_encoder", False)) != shapes_of(several)
    plain = with_experts(["text"], num_layers=4, num_expert_layers=2)
    reference = shapes_of(plain)
    for path, value in EXPERT_SHAPE_FIELDS.items():
        assert shapes_of(change(plain, path, value)) != reference, path


def pooled(config, weights, values, training=True):
    model = ImpModel(config)
    model.set_weights(weights)
    rows = model.encode(values, training=training, seed=tf.constant([5, 6])).pooled
    return tf.concat([tf.reshape(value, [-1]) for value in rows.values()], axis=0)


def distance(config, path, weights, values, value, expected, training=True) -> float:
    got = pooled(change(config, path, value), weights, values, training)
    return float(tf.reduce_max(tf.abs(got - expected)))


def test_every_behaviour_field_changes_the_outputs():
    plain, values = small(["audio", "text"]), inputs(["audio", "text"])
    weights = ImpModel(plain).get_weights()
    expected = pooled(plain, weights, values)
    for path, value in BEHAVIOUR_FIELDS.items():
        assert distance(plain, path, weights, values, value, expected) > 1e-5, path


def test_every_field_of_the_experts_changes_the_outputs():
    plain = with_experts(["waveform", "text"])
    values = inputs(plain.modalities, batch=6)
    weights = ImpModel(plain).get_weights()
    expected = pooled(plain, weights, values)
    for path, value in EXPERT_FIELDS.items():
        assert distance(plain, path, weights, values, value, expected) > 1e-6, path
    tokens = change(plain, "experts.router", "tokens_choose")
    expected = pooled(tokens, weights, values)
    assert distance(tokens, "experts.top_k", weights, values, 2, expected) > 1e-6
    assert (
        distance(
            plain, "experts.dispatch", weights, values, "einsum", pooled(plain, weights, values)
        )
        < 1e-5
    )
    expected = pooled(plain, weights, values, training=False)
    assert distance(plain, "experts.eval_group", weights, values, "batch", expected, False) > 1e-6


def test_the_words_start_as_far_apart_as_asked():
    for stddev in (0.02, 1.0):
        config = change(small(["text"]), "text.initial_stddev", stddev)
        table = ImpModel(config).encoder.text_tokens.words.embeddings
        assert abs(float(tf.math.reduce_std(table)) / stddev - 0.88) < 0.15


def test_experts_have_the_fields_and_defaults_of_the_layer():
    fields = {field.name: field.default for field in dataclasses.fields(ExpertOptions)}
    del fields["num_experts"]
    assert dataclasses.asdict(RoutingOptions()) == fields


@pytest.mark.parametrize(
    ("size", "placement", "layers"),
    [
        ("imp_moe_b", "last", range(6, 12)),
        ("imp_moe_l", "last", range(18, 24)),
        ("imp_moe_s", "uniform", range(1, 12, 2)),
        ("imp_b", "last", ()),
    ],
)
def test_layers_with_experts(size, placement, layers):
    config = resolve(ImpConfig(size=size, expert_placement=placement))
    assert config.expert_layers == tuple(layers)


@pytest.mark.parametrize("size", sorted(sizes.SIZES))
def test_sizes_resolve_once_and_survive_dicts(size):
    config = resolve(ImpConfig(size=size))
    assert resolve(config) == config
    assert imp_config.as_resolved(dataclasses.asdict(config)) == config


def test_what_follows_from_experts():
    dense, sparse = resolve(ImpConfig(size="imp_b")), resolve(ImpConfig(size="imp_moe_b"))
    assert (dense.qk_norm, dense.temperature.initial) == (False, 0.2)
    assert (sparse.qk_norm, sparse.temperature.initial) == (True, 1.0)
    made_sparse = resolve(ImpConfig(size="digits", num_experts=4))
    assert made_sparse.qk_norm and made_sparse.expert_layers == (2, 3)
    assert resolve(change(ImpConfig(), "temperature.initial", 0.07)).temperature.initial == 0.07


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("size", "imp_huger", "size is 'imp_huger'"),
        ("num_heads", 5, "num_heads = 5 does not divide"),
        ("num_layers", 0, "num_layers is 0"),
        ("num_experts", 1, "num_experts is 1"),
        ("dropout_rate", 1.0, "dropout_rate is 1.0"),
        ("modalities", ["smell"], "modalities is 'smell'"),
        ("modalities", ["text", "text"], "name each one once"),
        ("pooling", "median", "pooling is 'median'"),
        ("space.kind", "fac", "space.kind is 'fac'"),
        ("temperature.kind", "softplus", "temperature.kind is 'softplus'"),
        ("temperature.initial", 0.0, "temperature.initial is 0.0"),
        ("classifiers", {"k400": 0}, "classifiers.k400 is 0"),
        ("classifiers", {"k 400": 4}, "classifiers.k 400 must be named"),
        ("video.patches", {"fine": [4, 8, 8]}, "one must be called 'default'"),
        ("video.patches", {"default": [4, 8]}, "video.patches.default is"),
        ("video.table_rows", [16, 32], "video.table_rows is"),
        ("audio.patch", [4, 0], "audio.patch is"),
        ("audio.num_bins", 50, "audio.num_bins is 50"),
        ("audio.high_hz", 9000.0, "stay below half of audio.sample_rate_hz"),
        ("audio.scaling", "decibels", "audio.scaling is 'decibels'"),
        ("audio.transform", "slow", "audio.transform is 'slow'"),
        ("waveform.patch_samples", 0, "waveform.patch_samples is 0"),
        ("text.max_tokens", 0, "text.max_tokens is 0"),
    ],
)
def test_mistakes_name_the_field(path, value, words):
    with pytest.raises(UserError, match=words):
        resolve(change(ImpConfig(size="debug"), path, value))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("num_expert_layers", 3, "num_expert_layers is 3"),
        ("expert_placement", "first", "expert_placement is 'first'"),
        ("experts.router", "chance", "experts.router is 'chance'"),
        ("experts.capacity_rounding", "up", "experts.capacity_rounding is 'up'"),
        ("experts.eval_group", "all", "experts.eval_group is 'all'"),
        ("experts.dispatch", "slow", "experts.dispatch is 'slow'"),
        ("experts.top_k", 9, "experts.top_k is 9"),
        ("experts.capacity_factor", 0.0, "experts.capacity_factor is 0.0"),
        ("experts.group_size", 0, "experts.group_size is 0"),
        ("experts.min_capacity", -1, "experts.min_capacity is -1"),
    ],
)
def test_mistakes_about_experts_name_the_field(path, value, words):
    with pytest.raises(UserError, match=words):
        resolve(change(with_experts(), path, value))


def test_uniform_placement_needs_equal_distances():
    config = with_experts(num_layers=5, num_expert_layers=2, expert_placement="uniform")
    with pytest.raises(UserError, match="num_expert_layers = 2 does not divide"):
        resolve(config)


def test_works_as_a_strict_omegaconf_schema():
    schema = OmegaConf.structured(ImpConfig)
    values = {
        "size": "digits",
        "video": {"patches": {"default": [4, 4, 4], "coarse": [4, 8, 8]}},
        "classifiers": {"digits": 10},
        "experts": {"group_size": 512},
        "num_experts": 4,
    }
    config = OmegaConf.to_object(OmegaConf.merge(schema, values))
    assert isinstance(config, ImpConfig)
    config = resolve(config)
    assert config.video.patches == {"default": [4, 4, 4], "coarse": [4, 8, 8]}
    assert config.experts.group_size == 512 and config.classifiers == {"digits": 10}


def test_the_transform_of_spectrograms_reaches_the_model():
    config = resolve(change(small(), "audio.transform", "matrix"))
    assert config.audio.log_mel.transform == "matrix"
