"""R3 models: published counts, presets, roles, steps against whole sequences."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import shift_right
from mm_models.errors import UserError
from mm_models.layers.quantization.quantizer_options import QuantizerOptions
from mm_models.layers.roles.role_options import ROLE_KINDS
from mm_models.layers.transformer.relative_bias import relative_buckets
from mm_models.r3.config import R3Config, resolve
from mm_models.r3.language_config import RoleT5Config
from mm_models.r3.model import R3Model
from mm_models.r3.positions import region_ids
from tests import batteries

STEPS, LENGTH, BEAMS = 4, 6, 3


def grid_positions(steps=STEPS, rows=3, columns=3):
    """float32[steps * rows * columns, 5] as records have them."""
    found = [
        [t, x / columns, (x + 1) / columns, y / rows, (y + 1) / rows]
        for t in range(steps)
        for y in range(rows)
        for x in range(columns)
    ]
    return np.array(found, np.float32)


def _config(**changes):
    language = RoleT5Config(size="", **changes.pop("language", {}))
    return R3Config(**{"size": "debug", "num_steps": STEPS, "language": language, **changes})


def _inputs(batch=2, regions=9, positions=None):
    random = np.random.default_rng(4)
    mask = np.ones([batch, STEPS * regions], np.float32)
    mask[1, 2 * regions :] = 0.0
    positions = grid_positions() if positions is None else positions
    return {
        "features": tf.constant(random.normal(size=[batch, STEPS * regions, 8]), tf.float32),
        "feature_positions": tf.constant(np.repeat(positions[None], batch, axis=0)),
        "feature_token_mask": tf.constant(mask),
        "targets": tf.constant(random.integers(2, 64, [batch, LENGTH]), tf.int32),
    }


def _size(layer):
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)


@pytest.mark.parametrize(
    ("variant", "encoder", "decoder", "total"),
    [
        ("t5", 7_080_576, 137_950_848, 146_800_896),
        ("t6", 7_670_400, 152_106_624, 161_546_496),
        ("r3t6", 8_915_584, 175_989_632, 186_674_688),
    ],
)
def test_published_parameter_counts(variant, encoder, decoder, total):
    with tf.Graph().as_default():
        model = R3Model(R3Config(variant=variant, preset="reference_code"))
        language = model.language
        of_encoder = [language.encoder, language.encoder_relative_bias]
        if variant == "r3t6":
            of_encoder.append(model.region_places)
            role = language.decoder.block_0.attention.role_layer
            assert _size(role) == 3 * 768**2 + 128 * 64 + 64 * 64 + 4 * 64 == 1_782_016
        assert sum(map(_size, of_encoder)) == encoder
        assert _size(model) - encoder - _size(model.projection) == decoder
        assert _size(model) == total
        assert len(model.dictionaries()) == (21 if variant == "r3t6" else 0)
        # The repaired one has no bias between places in the text and in the video.
        fixed = R3Model(R3Config(variant=variant))
        assert _size(model) - _size(fixed) == 128 * 12


def test_published_buckets():
    def buckets(numbers, *options):
        return relative_buckets(np.array(numbers), *options).tolist()

    both = [-300, -100, -50, -20, -16, -8, -1, 0, 1, 8, 20, 50, 100, 200]
    assert buckets(both, 32, 256) == [15, 13, 12, 10, 9, 8, 1, 0, 17, 24, 26, 28, 29, 31]
    assert buckets([-100, -50, -20, -16, -8, -1, 0, 7], 32, 128, True) == [
        *(30, 24, 17, 16, 8, 1, 0, 0)
    ]
    assert buckets([-300, -200, -100, -50, -20, 0, 3], 128, 256, True) == [
        *(127, 116, 84, 50, 20, 0, 0)
    ]


@pytest.mark.parametrize("variant", ["t5", "t6", "r3t6"])
def test_battery(variant, tmp_path):
    # No gradient of the logits reaches codes: theirs is of the quantizer's own errors.
    language = {"quantizer": QuantizerOptions(learning="moving_average")}
    batteries.check_model(
        lambda dtype: R3Model(_config(variant=variant, language=dict(language)), dtype=dtype),
        _inputs(),
        tmp_path,
        mixed_tolerance=10.0,  # a code that two vectors are as near to may be either
    )


def test_with_every_role_one_it_is_t5():
    model, plain = R3Model(_config()), R3Model(_config(variant="t5"))
    batteries.shake(model)
    known = {weight.path.split("/", 1)[1]: weight for weight in model.weights}
    for weight in plain.weights:
        weight.assign(known[weight.path.split("/", 1)[1]])
    different = model(_inputs())
    for block in (*model.language.encoder.blocks, *model.language.decoder.blocks):
        for name in ("attention", "cross_attention"):
            attention = getattr(block, name, None)
            if attention is not None:
                _force_ones(attention)
    expected = plain(_inputs())
    batteries.assert_close(model(_inputs()), expected, 1e-5)
    assert np.max(np.abs(different - expected)) > 1e-3


def _force_ones(attention):
    bind = attention.role_layer.bind

    def ones(*args, **options):
        roles = bind(*args, **options)
        return roles._replace(values=tf.ones_like(roles.values))

    attention.role_layer.bind = ones


def _stepwise(model, inputs, read, num_beams):
    state = model.start_decoding(inputs, LENGTH, num_beams)
    step, rows = tf.function(model.decode_step, autograph=False), []
    for position in range(LENGTH):
        logits, state = step(read[:, position], tf.constant(position), state)
        rows.append(logits[:, None])
    return tf.concat(rows, axis=1)


@pytest.mark.parametrize("preset", ["fixed", "reference_code"])
@pytest.mark.parametrize("kind", ROLE_KINDS)
def test_steps_equal_reading_all_at_once(kind, preset):
    if (kind, preset) == ("relative_role", "reference_code"):
        pytest.skip("it averages over tokens that are not written yet")
    roles = {f"{side}_roles": [kind] for side in ("encoder", "decoder", "cross")}
    model = R3Model(_config(preset=preset, language=roles))
    batteries.shake(model)
    inputs = _inputs()
    read = shift_right(tf.random.stateless_uniform([2 * BEAMS, LENGTH], (1, 2), 2, 64, tf.int32))
    repeated = {name: tf.repeat(value, BEAMS, axis=0) for name, value in inputs.items()}
    seen = model.encode(repeated)
    whole = model.language.logits(model.decode(read, seen).tokens)
    batteries.assert_close(_stepwise(model, inputs, read, BEAMS), whole, 1e-3)


def test_logits_know_nothing_of_what_comes_later_nor_of_padding():
    model = R3Model(_config(language={"decoder_roles": ["relative_role", "attn_relative_role"]}))
    batteries.shake(model)
    inputs = _inputs()
    logits = model(inputs)
    later = inputs["targets"].numpy()
    later[:, 3:] = 7
    changed = model(inputs | {"targets": tf.constant(later)})
    batteries.assert_close(changed[:, :4], logits[:, :4], 1e-5)
    assert np.max(np.abs(changed[:, 4:] - logits[:, 4:])) > 1e-4
    hidden = inputs["feature_token_mask"][..., None] == 0
    other = tf.where(hidden, 100.0, inputs["features"])
    batteries.assert_close(model(inputs | {"features": other}), logits, 1e-5)


def test_places_matter_to_roles_alone():
    for variant, matters in (("t5", False), ("t6", False), ("r3t6", True)):
        model = R3Model(_config(variant=variant))
        batteries.shake(model)
        inputs = _inputs()
        moved = inputs | {"feature_positions": inputs["feature_positions"][:, ::-1]}
        assert (np.max(np.abs(model(inputs) - model(moved))) > 1e-5) == matters
        if not matters:
            continue
        before = model(inputs)
        table = model.language.text_places.place.embeddings
        table.assign(table[::-1])
        assert np.max(np.abs(model(inputs) - before)) > 1e-5


@pytest.mark.parametrize("variant", ["t5", "t6", "r3t6"])
def test_tokens_may_have_their_places(variant):
    model = R3Model(_config(variant=variant, placed_tokens=True))
    inputs = _inputs()
    moved = inputs | {"feature_positions": inputs["feature_positions"][:, ::-1]}
    assert np.max(np.abs(model(inputs) - model(moved))) > 1e-3
    told = model.projection(inputs["features"]) + model.region_places(
        region_ids(inputs["feature_positions"], STEPS, 3, 3)
    )
    plain = R3Model(_config(variant=variant))
    encoded = model.language.encoded(
        told,
        inputs["feature_token_mask"],
        model.language.encoder_bias(np.arange(STEPS * 9) // 9),
        positions=model.encode(inputs).positions,
    )
    np.testing.assert_allclose(model.encode(inputs).tokens, encoded.tokens, atol=1e-5)
    assert hasattr(plain, "region_places") == (variant == "r3t6")


def test_regions_by_hand():
    ids = region_ids(tf.constant(grid_positions()[None]), STEPS, 3, 3)
    assert ids["center"].numpy()[0].tolist() == list(range(9)) * STEPS
    assert ids["step"].numpy()[0].tolist() == [t for t in range(STEPS) for _ in range(9)]
    assert set(ids["extent"].numpy()[0]) == {0}
    released = region_ids(tf.constant(grid_positions()[None]), STEPS, 3, 3, "released")
    assert set(released["extent"].numpy()[0]) == {1}
    # A region of two rows and all three columns, at a step beyond the last.
    large = tf.constant([[[9.0, 0.0, 1.0, 1 / 3, 1.0]]])
    ids = {name: int(value[0, 0]) for name, value in region_ids(large, STEPS, 3, 3).items()}
    assert ids == {"step": 3, "center": 2 * 3 + 1, "extent": 1 * 3 + 2}


def test_one_vector_a_step():
    model = R3Model(_config(rows=0, columns=0))
    batteries.shake(model)
    positions = grid_positions(rows=1, columns=1)
    inputs = _inputs(regions=1, positions=positions)
    assert model(inputs).shape == (2, LENGTH, 64)
    ids = region_ids(tf.constant(positions[None]), STEPS, 0, 0)
    assert set(ids["center"].numpy()[0]) == set(ids["extent"].numpy()[0]) == {0}


def test_presets_and_places():
    inputs, outputs = _inputs(), {}
    for preset in ("fixed", "paper", "reference_code"):
        model = R3Model(_config(preset=preset, language={"encoder_roles": ["relative_role"]}))
        batteries.shake(model)
        outputs[preset] = model(inputs).numpy()
    assert np.max(np.abs(outputs["paper"] - outputs["reference_code"])) > 1e-4
    flat = R3Model(_config(encoder_places="flat"))
    steps = R3Model(_config())
    for one in (flat, steps):
        batteries.shake(one)
    assert np.max(np.abs(flat(inputs) - steps(inputs))) > 1e-4
    bias = steps.language.encoder_bias(steps._places(36))
    np.testing.assert_array_equal(bias[0, :, 0, 0], bias[0, :, 0, 8])


def test_traces_say_what_was_attended_to():
    model = R3Model(_config())
    batteries.shake(model)
    inputs = _inputs()
    traces = model.traces(inputs, inputs["targets"])
    assert list(traces) == [
        "encoder/block_0/attention",
        *(f"decoder/block_{i}/{name}" for i in (0, 1) for name in ("attention", "cross_attention")),
    ]
    visual = STEPS * 9
    for name, queries, keys in (
        ("encoder/block_0/attention", visual, visual),
        ("decoder/block_1/attention", LENGTH, LENGTH),
        ("decoder/block_0/cross_attention", LENGTH, visual),
    ):
        trace = traces[name]
        assert trace.weights.shape == trace.roles.weights.shape == (2, 2, queries, keys)
        assert trace.roles.ids.shape == trace.roles.scores.shape == (2, 2, queries)
        np.testing.assert_allclose(tf.reduce_sum(trace.weights, axis=-1), 1.0, atol=1e-6)
    seen = traces["decoder/block_0/cross_attention"].weights.numpy()[1]
    assert np.all(seen[..., 18:] == 0.0)
    assert traces["decoder/block_1/cross_attention"].roles is None
    compiled = tf.function(lambda: model.traces(inputs, inputs["targets"]), jit_compile=True)()
    np.testing.assert_array_equal(
        compiled["encoder/block_0/attention"].roles.ids,
        traces["encoder/block_0/attention"].roles.ids,
    )


def test_what_training_learns_of_codes():
    model = R3Model(_config())
    inputs = _inputs()
    seen = model.encode(inputs, training=True, seed=batteries.seed())
    decoded = model.decode(
        shift_right(inputs["targets"]), seen, training=True, seed=batteries.seed()
    )
    assert list(seen.roles) == ["block_0/attention"]
    assert list(decoded.roles) == [
        *("block_0/attention", "block_0/cross_attention", "block_1/attention"),
    ]
    names = [f"encoder/{name}" for name in seen.roles] + [f"decoder/{n}" for n in decoded.roles]
    assert names == list(model.dictionaries())
    for report in (*seen.roles.values(), *decoded.roles.values()):
        assert report.codebook_error.shape == report.commitment_error.shape
        assert int(tf.reduce_sum(report.use.counts)) == int(np.prod(report.codebook_error.shape))


def test_recomputed_blocks_give_the_same_gradients():
    results, first = [], R3Model(_config())
    for rematerialize in (False, True):
        model = R3Model(_config(language={"rematerialize": rematerialize}))
        batteries.copy_weights(first, model)
        with tf.GradientTape() as tape:
            seen = model.encode(_inputs(), training=True, seed=batteries.seed())
            loss = tf.reduce_sum(seen.tokens)
            loss += tf.add_n([tf.reduce_sum(one.codebook_error) for one in seen.roles.values()])
        variables = [weight.value for weight in model.language.encoder.trainable_weights]
        results.append([loss, *tape.gradient(loss, variables)])
    batteries.assert_close(results[1], results[0], 1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "huge"}, "size is 'huge'"),
        ({"variant": "r2"}, "variant is 'r2'"),
        ({"preset": "mine"}, "preset is 'mine'"),
        ({"rows": 0}, "rows"),
        ({"encoder_places": "space"}, "encoder_places"),
        ({"size_ids": "none"}, "size_ids"),
        ({"language": {"encoder_roles": ["tensor"]}}, "encoder_roles"),
        ({"language": {"decoder_roles": ["none"] * 3}}, "roles of 3 layers, but there are 2"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        resolve(_config(**changes))


def test_configs_become_dicts_and_models_again():
    model = R3Model(_config(language={"cross_roles": ["none", "relative_role"]}))
    again = R3Model(dataclasses.asdict(model.config))
    assert again.config == model.config
