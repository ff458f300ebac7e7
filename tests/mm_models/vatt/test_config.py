"""Every field of a VATT config matters, and mistakes are told."""

import dataclasses

import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.vatt import config as vatt_config
from mm_models.vatt import sizes
from mm_models.vatt.config import VattConfig, named_config, resolve
from mm_models.vatt.model import VattModel

SHAPE_FIELDS = {
    "video.num_layers": 1,
    "video.dim": 48,
    "video.mlp_dim": 48,
    "video.num_heads": 3,
    "video.head_dim": 8,
    "video.num_frames": 8,
    "video.height": 32,
    "video.width": 32,
    "video.patch_frames": 4,
    "video.patch_height": 4,
    "video.patch_width": 4,
    "audio.num_layers": 1,
    "audio.num_samples": 2048,
    "audio.patch_samples": 64,
    "text.num_layers": 3,
    "text.vocabulary_size": 70,
    "text.embedding_dim": 8,
    "text.trainable_embeddings": False,
    "text.relative_buckets": 16,
    "head.kind": "mlp_joint",
    "head.video_audio_dim": 20,
    "head.video_text_dim": 20,
    "modalities": ["video", "text"],
    "variant": "agnostic",
    "preset": "reference_code",
    "position_layer_norm": True,
    "head.preset": "reference_code",
    "video.size": "digits",
    "head.size": "digits",
}
AGNOSTIC_FIELDS = {
    "shared.num_layers": 1,
    "shared.post_dim": 20,
    "shared.size": "digits",
    "text.num_tokens": 12,
}
SPECTROGRAM_FIELDS = {
    "audio.sample_rate_hz": 8000,
    "audio.num_bins": 40,
    "audio.patch_frames": 8,
    "audio.patch_bins": 10,
}
BEHAVIOUR_FIELDS = {
    "video.dropout_rate": 0.4,
    "video.attention_dropout_rate": 0.4,
    "video.drop_token_rate": 0.25,
    "video.drop_token_per_sample": True,
    "video.scaling": "standard",
    "audio.drop_token_rate": 0.25,
    "audio.drop_token_per_sample": True,
    "audio.dropout_rate": 0.4,
    "text.dropout_rate": 0.4,
    "text.relative_max_distance": 4,
}


def change(config: VattConfig, path: str, value) -> VattConfig:
    head, _, name = path.rpartition(".")
    if not head:
        return dataclasses.replace(config, **{name: value})
    return dataclasses.replace(
        config, **{head: dataclasses.replace(getattr(config, head), **{name: value})}
    )


def alone(config: VattConfig, modality: str) -> VattConfig:
    """One small tower and its head: all that a tower's field can change."""
    return change(change(config, "modalities", [modality]), "head.kind", "mlp_joint")


def shapes_of(config: VattConfig) -> list:
    with tf.Graph().as_default():
        model = VattModel(config)
        return [(w.path, tuple(w.shape), w.trainable) for w in model.weights]


def test_every_shape_field_changes_the_weights():
    plain = named_config("debug")
    bases = {name: alone(plain, name) for name in ("video", "audio", "text")}
    references = {name: shapes_of(base) for name, base in bases.items()}
    bases["whole"], references["whole"] = plain, shapes_of(plain)
    for path, value in SHAPE_FIELDS.items():
        part = path.split(".")[0] if path.split(".")[0] in bases else "whole"
        assert shapes_of(change(bases[part], path, value)) != references[part], path
    joint = change(plain, "head.kind", "mlp_joint")
    assert shapes_of(change(joint, "head.joint_dim", 24)) != shapes_of(joint)
    agnostic = named_config("unified_debug")
    agnostic = alone(agnostic, "text")
    reference = shapes_of(agnostic)
    for path, value in AGNOSTIC_FIELDS.items():
        assert shapes_of(change(agnostic, path, value)) != reference, path
    plain = alone(plain, "audio")
    sounds = change(change(plain, "audio.input", "spectrogram"), "audio.num_samples", 48000)
    reference = shapes_of(sounds)
    for path, value in SPECTROGRAM_FIELDS.items():
        assert shapes_of(change(sounds, path, value)) != reference, path


def test_every_behaviour_field_changes_the_outputs():
    inputs = {
        "video": tf.random.stateless_uniform([2, 4, 16, 16, 3], (1, 2)),
        "audio": tf.random.stateless_uniform([2, 1024], (1, 3)),
        "text": tf.constant([[3, 4, 5, 6, 7, 8, 9, 1]] * 2),
    }
    plain = named_config("debug")
    for name in ("video", "audio", "text"):
        plain = change(plain, f"{name}.num_layers", 1)
    plain = change(plain, "text.relative_buckets", 8)
    reference = VattModel(plain)
    weights = reference.get_weights()

    def pooled(config):
        model = VattModel(config)
        model.set_weights(weights)
        return model.encode(inputs, training=True, seed=tf.constant([5, 6]))

    expected = pooled(plain)
    for path, value in BEHAVIOUR_FIELDS.items():
        modality = path.split(".")[0]
        got = pooled(change(plain, path, value))[modality]
        assert float(tf.reduce_max(tf.abs(got - expected[modality]))) > 1e-5, path


def test_the_scaling_of_spectrograms_matters():
    sounds = {"audio": tf.random.stateless_uniform([2, 48000], (1, 3), -1.0, 1.0)}
    plain = change(alone(named_config("debug"), "audio"), "audio.input", "spectrogram")
    plain = change(plain, "audio.num_samples", 48000)
    first, second = (VattModel(change(plain, "audio.scaling", s)) for s in ("min_max", "standard"))
    second.set_weights(first.get_weights())
    outputs = [m.encode(sounds, training=False, seed=None)["audio"] for m in (first, second)]
    assert float(tf.reduce_max(tf.abs(outputs[0] - outputs[1]))) > 1e-2


def test_the_transform_of_spectrograms_reaches_the_model():
    plain = change(alone(named_config("debug"), "audio"), "audio.input", "spectrogram")
    plain = change(plain, "audio.num_samples", 48000)
    model = VattModel(change(plain, "audio.transform", "matrix"))
    assert resolve(model.config).audio.log_mel.transform == "matrix"


@pytest.mark.parametrize("name", sorted(sizes.MODELS))
def test_named_configs_resolve_once_and_survive_dicts(name):
    config = resolve(named_config(name))
    assert resolve(config) == config
    assert vatt_config.as_resolved(dataclasses.asdict(config)) == config


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("video.height", 30, "video.height is 30"),
        ("audio.patch_samples", 100, "audio.num_samples is 1024"),
        ("video.size", "huge", "video.size is 'huge'"),
        ("variant", "both", "variant is 'both'"),
        ("preset", "exact", "preset is 'exact'"),
        ("head.kind", "none", "head.kind is 'none'"),
        ("head.preset", "exact", "head.preset is 'exact'"),
        ("modalities", ["smell"], "modalities is 'smell'"),
        ("modalities", [], "at least one"),
        ("video.drop_token_rate", 1.0, "video.drop_token_rate is 1.0"),
        ("text.dropout_rate", -0.1, "text.dropout_rate is -0.1"),
        ("text.vocabulary_size", 0, "text.vocabulary_size is 0"),
        ("text.relative_max_distance", 8, "text.relative_max_distance is 8"),
        ("text.relative_buckets", 6, "text.relative_buckets is 6"),
        ("video.num_layers", 0, "video.num_layers is 0"),
        ("audio.input", "tape", "audio.input is 'tape'"),
        ("video.scaling", "min_max", "video.scaling is 'min_max'"),
        ("audio.scaling", "decibels", "audio.scaling is 'decibels'"),
        ("audio.transform", "slow", "audio.transform is 'slow'"),
        ("audio.scaling", "standard", "this is of spectrograms"),
        ("audio.transform", "matrix", "this is of spectrograms"),
    ],
)
def test_mistakes_name_the_field(path, value, words):
    with pytest.raises(UserError, match=words):
        resolve(change(named_config("debug"), path, value))


def test_encoder_fields_of_a_tower_are_refused_in_the_agnostic_variant():
    config = change(named_config("unified_debug"), "video.num_layers", 3)
    with pytest.raises(UserError, match="set shared.num_layers instead"):
        resolve(config)


def test_each_difference_of_the_presets_has_a_value_of_its_own():
    """Positions and head of one preset in a model of the other, and back to it by both."""
    for preset, other, normed in (
        ("paper", "reference_code", True),
        ("reference_code", "paper", 0),
    ):
        mixed = dataclasses.replace(named_config("debug"), preset=preset)
        mixed = change(mixed, "position_layer_norm", bool(normed))
        assert resolve(mixed).head.preset == preset
        mixed = change(mixed, "head.preset", other)
        whole = dataclasses.replace(named_config("debug"), preset=other)
        assert shapes_of(mixed) == shapes_of(whole)
    joint = change(change(named_config("debug"), "head.kind", "mlp_joint"), "head.preset", "paper")
    with pytest.raises(UserError, match="the same 'mlp_joint' head"):
        resolve(joint)


def test_unknown_model_names_are_refused_and_fac_needs_video():
    with pytest.raises(UserError, match="the names are"):
        named_config("vatt")
    config = change(named_config("debug"), "modalities", ["audio", "text"])
    with pytest.raises(UserError, match="needs video"):
        VattModel(config)


def test_works_as_a_strict_omegaconf_schema():
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(VattConfig)
    values = {"video": {"size": "debug", "dim": 48}, "modalities": ["text"]}
    config = OmegaConf.to_object(OmegaConf.merge(schema, values))
    assert isinstance(config, VattConfig)
    assert resolve(config).video.dim == 48
