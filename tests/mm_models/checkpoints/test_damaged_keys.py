"""Keys and shapes that no file of a format should have: one sentence, or the same weights."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_models.backbones.t5 import T5, T5Config
from mm_models.backbones.vit import Vit, VitConfig
from mm_models.checkpoints import mapping, weight_formats
from mm_models.checkpoints.key_maps import KEY_MAPS
from mm_models.errors import UserError
from tests import batteries
from tests.mm_models.checkpoints.t5_cases import CASES

VIT = {"size": "debug", "gelu": "erf", "epsilon": 1e-12}
MODELS = {
    "huggingface_vit_names": lambda: Vit(VitConfig(**VIT, pool="cls", representation_dim=6)),
    "huggingface_siglip": lambda: Vit(VitConfig(size="debug", pool="map")),
    "big_vision_vit": lambda: Vit(VitConfig(size="debug", pool="cls", num_classes=3)),
}
RESHAPED = {
    "scalar": lambda value: value.reshape(-1)[0],
    "flat": lambda value: value.reshape(-1),
    "none": lambda value: value.reshape(-1)[:0],
    "another axis": lambda value: value[None],
    "fewer": lambda value: value[:-1],
    "twice": lambda value: np.concatenate([value, value]),
    "last axis twice": lambda value: np.concatenate([value, value], axis=-1),
    "turned": lambda value: value.T,
    "eight axes": lambda value: value.reshape(*[1] * (8 - value.ndim), *value.shape),
}


class Arrays:
    """A source in memory."""

    path, step, settings = "memory", 0, None

    def __init__(self, arrays):
        self.arrays = arrays
        self.shapes = {key: value.shape for key, value in arrays.items()}

    def value(self, key):
        return self.arrays[key]


def part_of(key_map):
    name = key_map.places.partition(":")[0].rpartition(".")[2]
    model = MODELS.get(name, lambda: T5(T5Config(**CASES["mt5"])))()
    batteries.shake(model)
    return model


def load(key_map, model, arrays):
    source = Arrays(arrays)
    assert weight_formats.find(source, KEY_MAPS) is key_map
    weight_formats.check_settings(key_map, model, source)
    source = weight_formats.canonical(key_map, source, model)
    places = weight_formats.places_of(key_map, model, source)
    return mapping.load(places, source, elsewhere=key_map.elsewhere)


@pytest.mark.parametrize("key_map", KEY_MAPS, ids=lambda one: one.places)
def test_any_key_and_any_shape(key_map):
    model = part_of(key_map)
    arrays = dict(mapping.stored_values(weight_formats.places_of(key_map, model)))
    before = [weight.numpy() for weight in model.weights]
    keys = sorted(arrays)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.sampled_from(keys),
        st.sampled_from(["lost", "renamed", "doubled", "stacked", "stacked scalar", *RESHAPED]),
        st.sampled_from(keys),
    )
    def check(key, damage, other):
        changed = dict(arrays)
        if damage in RESHAPED:
            changed[key] = np.asarray(RESHAPED[damage](arrays[key]))
            if changed[key].shape == arrays[key].shape:
                return  # of a square, nothing tells
        elif damage == "doubled":
            changed[f"{key}/0"] = arrays[other]
        else:
            value = changed.pop(key)
            if damage == "renamed":
                changed[f"{other}/{key}"] = value
            if damage == "stacked":
                changed[re.sub(r"(layers|encoderblock)_\d+/", r"\1/", key)] = value.reshape(-1)
            if damage == "stacked scalar":
                changed[re.sub(r"(layers|encoderblock)_\d+/", r"\1/", key)] = value.reshape(-1)[0]
        try:
            load(key_map, model, changed)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            for weight, value in zip(model.weights, before, strict=True):
                if "position" not in weight.path:  # may have been resized
                    np.testing.assert_array_equal(weight.numpy(), value, err_msg=weight.path)
        for weight, value in zip(model.weights, before, strict=True):
            weight.assign(value)

    check()
