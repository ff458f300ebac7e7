"""Published weights of T5 start an R3 model, whose roles start anew, and all is told."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import T5, T5Config
from mm_models.checkpoints import key_maps, weight_formats
from mm_models.errors import UserError
from mm_models.r3.config import R3Config
from mm_models.r3.language_config import RoleT5Config
from mm_models.r3.model import R3Model
from trainers import conversion

ENCODER_LAYERS = 3
LEFT = r"^encoder(\.block\.|/layers_|/block_0*)([1-9])"


def small(**changes):
    """A model of R3 whose decoder is that of the published one, and whose encoder has one layer."""
    language = RoleT5Config(size="", **changes.pop("language", {}))
    return R3Model(R3Config(size="debug", num_steps=2, language=language, **changes))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A first T5 of three encoder layers as two code bases write it."""
    folder = tmp_path_factory.mktemp("published")
    model = T5(
        T5Config("debug", num_encoder_layers=ENCODER_LAYERS, feed_forward="relu", tie_logits=True)
    )
    for index, weight in enumerate(model.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 7)))
    for form in ("huggingface", "t5x"):
        key_map = next(
            one
            for one in key_maps.KEY_MAPS
            if one.format == form and weight_formats.holds(one, model)
        )
        weight_formats.write(key_map, model, str(folder / form))
    return folder, model


@pytest.mark.parametrize("form", ["huggingface", "t5x"])
@pytest.mark.parametrize("preset", ["fixed", "reference_code"])
def test_what_t5_has_is_taken_and_the_rest_is_named(published, form, preset):
    folder, source = published
    model = small(preset=preset)
    opened = conversion.open_sources([str(folder / form)])
    with pytest.raises(UserError, match="encoder"):
        conversion.import_weights(small(preset=preset), opened)
    done = conversion.import_weights(model, opened, [LEFT])
    known = {weight.path.split("/", 1)[-1]: weight for weight in source.weights}
    taken = [weight for weight in model.weights if weight.path not in done.new]
    assert len(taken) == len(known) - _size_of_layers(source)
    for weight in taken:
        mine = weight.path.removeprefix("language/")
        theirs = known.get(mine, known.get(mine.split("/", 1)[-1]))
        np.testing.assert_array_equal(weight.numpy(), theirs.numpy(), err_msg=weight.path)
    told = str(done)
    assert f"in no source, as they start: {len(done.new)}" in told
    started = {path for path in done.new if "/role/" not in path}
    places = ("text_places", "region_places", "projection", "cross_relative_bias")
    assert started and all(any(name in path for name in places) for path in started)
    assert any("cross_relative_bias" in path for path in started) == (preset == "reference_code")
    assert any("block.1" in key or "layers_1" in key for key in done.imported[0].report.unmapped)


def _size_of_layers(source):
    """Weights of the encoder's layers that R3 has not."""
    gone = [f"encoder/block_{index}/" for index in range(1, ENCODER_LAYERS)]
    return sum(any(name in weight.path for name in gone) for weight in source.weights)


def test_roles_cannot_be_written_as_t5():
    model = small()
    key_map = next(one for one in key_maps.KEY_MAPS if one.format == "t5x")
    held = {
        id(part.variable)
        for place in weight_formats.places_of(key_map, model.language)
        for part in place.parts
    }
    extra = model.language.extra_weights()
    assert extra and not held & {id(weight) for weight in extra}
    assert held | {id(weight) for weight in extra} == {id(one) for one in model.language.weights}
