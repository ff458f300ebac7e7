"""Vision transformers: counts, a float64 form of their own, positions, pooling, precision."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones import vit_config
from mm_models.backbones.image_classifier import ImageClassifier
from mm_models.backbones.vit import Vit, VitConfig
from mm_models.backbones.vit_positions import PatchPositions, axis_matrix, resample_positions
from mm_models.errors import UserError
from tests import batteries
from tests.mm_models.layers.test_transformer import attention, under, weights_of
from tests.parameter_counts import count

DEBUG = VitConfig(size="debug")


def changed(**fields):
    return dataclasses.replace(DEBUG, **fields)


def images(batch=2, height=32, width=32):
    return tf.random.stateless_uniform([batch, height, width, 3], (3, 4), -1.0, 1.0)


# The first six are trunk, patch map, 16 x 16 positions and final norm alone; the published ViT-e
# is that with attention pooling and the 29593 classes it was trained on.
COUNTS = {
    "giant": ({}, 1_842_772_352),
    "e": ({}, 3_805_417_728),
    "e_published": ({"size": "e", "pool": "map", "num_classes": 29_593}, 3_926_402_969),
    "tiny": ({"pool": "cls", "class_position": True, "num_classes": 1000}, 5_717_416),
    "small": ({"pool": "cls", "class_position": True, "num_classes": 1000}, 22_050_664),
    "base": ({"pool": "cls", "class_position": True, "num_classes": 1000}, 86_567_656),
    "large": ({"pool": "cls", "class_position": True, "num_classes": 1000}, 304_326_632),
    "huge": ({"pool": "cls", "class_position": True, "num_classes": 1000}, 632_045_800),
    "so400m": ({"pool": "map"}, 427_680_704),
}


LARGE = ("giant", "e", "huge")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in COUNTS],
)
def test_parameters_are_counted_without_allocating(name):
    fields, expected = COUNTS[name]
    config = VitConfig(**{"size": name, **fields})
    counts = count(lambda: Vit(config))
    assert counts.trainable == expected == sum(counts.by_part.values())


def flops_per_image(config: VitConfig) -> float:
    """Matrix products of an image's tokens by the formula, a multiply-add counted as two."""
    config = vit_config.resolve(config)
    tokens, width = vit_config.num_tokens(config), config.width
    per_block = 8 * tokens * width**2 + 4 * tokens**2 * width + 4 * tokens * width * config.mlp_dim
    return float(2 * tokens * config.patch_size**2 * 3 * width + config.depth * per_block)


def test_tokens_and_operations_of_the_paper_sizes():
    for size, gflops in {"giant": 963.6, "e": 1973.5}.items():
        config = VitConfig(size=size)
        counts = [vit_config.num_tokens(config, side) for side in (224, 490, 588)]
        assert counts == [256, 1225, 1764]
        assert flops_per_image(config) / 1e9 == pytest.approx(gflops, abs=0.05)
    config = VitConfig(size="so400m", image_size=384, pool="cls")
    assert vit_config.num_tokens(config) == 27 * 27 + 1


def norm(x, w, name, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * w[f"{name}/gamma"] + w[f"{name}/beta"]


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def mlp(x, w):
    hidden = tanh_gelu(x @ w["wi/kernel"] + w["wi/bias"])
    return hidden @ w["wo/kernel"] + w["wo/bias"]


def attend_from(probe, x, w, heads):
    """Attention of one query row: the first row of self-attention whose query is the probe."""
    both = np.concatenate([np.broadcast_to(probe, (len(x), 1, x.shape[-1])), x], axis=1)
    seen = np.ones(both.shape[:2])
    seen[:, 0] = 0
    return attention(both, w, heads, scaled=True, mask=seen)[:, 0]


def reference(model, pixels):
    """Tokens after the final norm, by loops over patches."""
    config, w = model.config, weights_of(model, "vit/")
    size, x = config.patch_size, pixels.numpy().astype(np.float64)
    rows, columns = x.shape[1] // size, x.shape[2] // size
    cuts = [
        x[:, r * size : (r + 1) * size, c * size : (c + 1) * size].reshape(len(x), -1)
        for r in range(rows)
        for c in range(columns)
    ]
    kernel, bias = w["patches/projection/kernel"], w["patches/projection/bias"]
    x = np.stack(cuts, axis=1) @ kernel + bias + w["positions/table"]
    if config.pool == "cls":
        row = w["class_token/embedding"] + w.get("class_token/position", 0.0)
        x = np.concatenate([np.broadcast_to(row, (len(x), 1, len(row))), x], axis=1)
    for index in range(config.depth):
        b = under(w, f"stack/block_{index}/")
        normed = norm(x, b, "attention_norm", config.epsilon)
        x = x + attention(normed, under(b, "attention/"), config.num_heads, scaled=True)
        x = x + mlp(norm(x, b, "mlp_norm", config.epsilon), under(b, "mlp/"))
    return norm(x, w, "stack/final_norm", config.epsilon), w


@pytest.mark.parametrize("pool", ["none", "cls", "gap", "map"])
def test_tokens_rows_and_logits_equal_the_float64_form(pool):
    head = {} if pool == "none" else {"num_classes": 5, "head_bias": -10.0}
    head |= {"class_position": True, "representation_dim": 7} if pool == "cls" else {}
    model = Vit(changed(pool=pool, epsilon=1e-3, **head))
    if pool != "none":
        np.testing.assert_array_equal(model.head.kernel, np.zeros_like(model.head.kernel))
        np.testing.assert_array_equal(model.head.bias, np.full(5, -10.0))
    batteries.shake(model)
    expected, w = reference(model, images())
    tokens = model(images())
    assert tokens.shape == (2, 16 + (pool == "cls"), 16)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=2e-5)
    if pool == "none":
        for method in (model.pool, model.classify):
            with pytest.raises(ValueError, match="pool 'none'|num_classes 0"):
                method(tokens)
        return
    row = {"cls": expected[:, 0], "gap": expected.mean(axis=1)}.get(pool)
    if pool == "map":
        h = under(w, "map_head/")
        row = attend_from(h["probe"], expected, under(h, "attention/"), 2)
        row = row + mlp(norm(row, h, "norm", model.config.epsilon), under(h, "mlp/"))
    np.testing.assert_allclose(model.pool(tokens), row, rtol=1e-4, atol=2e-5)
    if pool == "cls":
        row = np.tanh(row @ w["pre_logits/kernel"] + w["pre_logits/bias"])
    logits = row @ w["head/kernel"] + w["head/bias"]
    np.testing.assert_allclose(model.classify(tokens), logits, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("pool", ["cls", "map"])
def test_battery(pool, tmp_path):
    config = changed(depth=1, pool=pool, class_position=pool == "cls", dropout_rate=0.2)
    if pool == "cls":
        batteries.check_layer(
            lambda **kw: Vit(config, **kw), {"images": images()}, first="images", draws=True
        )
    config = dataclasses.replace(
        config, num_classes=3, representation_dim=6, head_zero_init=False, rematerialize=True
    )

    def make(**kw):
        return Vit(config, name="vit", **kw)

    def classify(values, **options):
        return model.classify(model(values["images"], **options))

    model = make()
    batteries.check_saves(model, make, images(), tmp_path)
    options = {"training": True, "seed": batteries.seed()}
    batteries.check_gradients(model, lambda v: classify(v, **options), {"images": images()})
    batteries.check_compiles(lambda v: classify(v, **options), {"images": images()}, 1e-4)
    mixed = make(dtype="mixed_bfloat16")
    assert mixed(images()).dtype == tf.bfloat16
    assert mixed.classify(mixed(images())).dtype == tf.float32


def test_each_switch_matters():
    base = Vit(DEBUG, name="vit")
    batteries.shake(base)
    tokens = base(images())
    for fields in ({"gelu": "erf"}, {"epsilon": 0.1}):
        other = Vit(changed(**fields), name="vit")
        batteries.copy_weights(base, other)
        assert np.abs(other(images()) - tokens).max() > 1e-4, fields
    assert Vit(changed(rematerialize=True)).stack.rematerialize and not base.stack.rematerialize
    drawn = Vit(changed(pool="gap", num_classes=4, head_zero_init=False)).head.kernel
    assert np.all(drawn.numpy() != 0.0)
    # What is left at the right and below is not seen.
    wide = tf.pad(images(), [[0, 0], [0, 5], [0, 7], [0, 0]], constant_values=9.0)
    np.testing.assert_array_equal(base(wide), tokens)
    dropping = Vit(changed(dropout_rate=0.5), name="vit")
    batteries.copy_weights(base, dropping)
    np.testing.assert_array_equal(dropping(images()), tokens)
    trained = dropping(images(), training=True, seed=batteries.seed())
    assert not np.any(trained == 0.0) and np.abs(trained - tokens).max() > 0.1


def test_linear_resampling_keeps_corners():
    ramp = np.arange(16.0).reshape(1, 16, 1)
    got = resample_positions(ramp, (6, 6)).reshape(6, 6)
    np.testing.assert_allclose(got[0], [0, 0.6, 1.2, 1.8, 2.4, 3.0], atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(np.diag(got), [0, 3, 6, 9, 12, 15], atol=1e-5, rtol=1e-4)
    np.testing.assert_array_equal(resample_positions(ramp, (4, 4)), ramp)
    one = resample_positions(ramp, (1, 2)).reshape(2)
    np.testing.assert_allclose(one, [0, 3], atol=1e-6, rtol=1e-4)
    np.testing.assert_array_equal(axis_matrix(1, 3, "corner"), np.ones((3, 1)))


def test_bicubic_resampling_is_torchs():
    # torch.nn.functional.interpolate(arange(4.), size=6, mode="bicubic", align_corners=False),
    # with the kernel's values worked out by hand at t = 1/6, 1/2 and 5/6.
    t = np.array([1 / 6, 1 / 2, 5 / 6])
    near, far = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * ((t + 1) ** 3 - 5 * (t + 1) ** 2)
    far = far - 0.75 * (8 * (t + 1) - 4)
    matrix = axis_matrix(4, 6, "bicubic")
    # Query 2 lies at 7/6: rows 0 to 3 are at distances 7/6, 1/6, 5/6 and 11/6.
    np.testing.assert_allclose(matrix[2], [far[0], near[0], near[2], far[2]], atol=1e-6, rtol=1e-4)
    # Query 1 lies at 1/2, where row 0 stands for the one in front of it too.
    np.testing.assert_allclose(
        matrix[1], [near[1] + far[1], near[1], far[1], 0], atol=1e-6, rtol=1e-4
    )
    np.testing.assert_allclose(matrix.sum(axis=1), np.ones(6), atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-6, rtol=1e-4)
    assert np.abs(axis_matrix(4, 6, "corner") - matrix).max() > 0.1


@pytest.mark.parametrize("method", vit_config.METHODS)
def test_images_of_another_size_resample_the_table_in_the_graph(method):
    layer = PatchPositions((3, 4), 5, method)
    tokens = tf.zeros([1, 10, 5])
    assert layer(tokens[:, :1]).shape == (1, 12, 5)
    expected = resample_positions(layer.table.numpy(), (2, 5), method, old_grid=(3, 4))
    np.testing.assert_allclose(layer(tokens, grid=(2, 5))[0], expected, atol=1e-6, rtol=1e-4)
    model = Vit(changed(resample=method))
    assert model(images(1, 48, 16)).shape == (1, 6 * 2, 16)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": "ViT-B"}, "size is 'ViT-B'; it must be one of"),
        ({"num_heads": 3}, "width is 16, which num_heads = 3"),
        ({"pool": "tok"}, "pool is 'tok'"),
        ({"num_classes": 2}, "num_classes is 2, but pool is 'none'"),
        ({"pool": "gap", "class_position": True}, "class_position is true"),
        ({"resample": "linear"}, "resample is 'linear'"),
        ({"gelu": "relu"}, "gelu is 'relu'"),
        ({"image_size": 4}, "smaller than a patch of patch_size = 8"),
        ({"representation_dim": -1}, "representation_dim is -1"),
    ],
)
def test_what_makes_no_sense_is_named(fields, words):
    with pytest.raises(UserError, match=words):
        vit_config.resolve(changed(**fields))


def test_tables_that_are_no_square_are_not_resampled():
    with pytest.raises(UserError, match="6 rows is not that of a square"):
        resample_positions(np.zeros((1, 6, 2)), (3, 3))


@pytest.mark.parametrize("pool", ["cls", "map"])
def test_maps_are_the_tokens_in_their_places(pool):
    model = ImageClassifier(changed(pool=pool, num_classes=3))
    video = tf.stack([images(2, 32, 48), images(2, 32, 48)[::-1]], axis=1)
    maps = model.feature_maps(video).numpy()
    tokens = model.vision(images(2, 32, 48)).numpy()
    patches = tokens[:, 1:] if pool == "cls" else tokens
    side = model.vision.config.patch_size
    rows, columns = 32 // side, 48 // side
    assert maps.shape == (2, rows, columns, model.vision.config.width)
    # Each clip shows both images, so that their maps are equal: the mean of both.
    for row in range(rows):
        for column in range(columns):
            expected = patches[:, row * columns + column].mean(axis=0)
            np.testing.assert_allclose(maps[:, row, column], [expected] * 2, atol=1e-5)
