"""Cases in which transformers' vision models and ours must agree: configs, weights, images.

Weights are drawn by name from a generator whose numbers never change, so that a stored case needs
no weights: keys, shapes and outputs are enough.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mm_models.backbones.vit import Vit, VitConfig
from mm_models.checkpoints import key_maps, mapping, weight_formats

BATCH = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """One model of transformers and ours.

    Attributes:
        kind: class there.
        theirs: fields of its config (of SigLIP's vision tower).
        ours: fields of VitConfig beyond the sizes.
        num_classes: of a classifier; 0: none.
        sizes: height and width of images, of which all but those of the config resample positions.
    """

    kind: str
    theirs: dict
    ours: dict
    num_classes: int = 0
    sizes: tuple[tuple[int, int], ...] = ((32, 32),)


SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}
OTHER = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "image_size": 30,
    "patch_size": 6,
}
ERF = {"gelu": "erf", "epsilon": 1e-12}
CASES = {
    "vit": Case(
        "ViTModel",
        {**SMALL, "pooler_output_size": 24},
        {
            **ERF,
            "pool": "cls",
            "class_position": True,
            "representation_dim": 24,
            "resample": "bicubic",
        },
        sizes=((32, 32), (48, 40)),
    ),
    "vit_classifier": Case(
        "ViTForImageClassification",
        {**OTHER, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
        {"pool": "cls"},
        num_classes=5,
        sizes=((30, 30),),
    ),
    "siglip": Case(
        "SiglipVisionModel",
        {**SMALL, "image_size": 36},
        {"pool": "map", "resample": "bicubic"},
        sizes=((36, 36), (24, 56)),
    ),
    "siglip_no_head": Case(
        "SiglipVisionModel", {**OTHER, "vision_use_head": False}, {}, sizes=((30, 30),)
    ),
    "siglip_classifier": Case(
        "SiglipForImageClassification",
        {**SMALL, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "vision_use_head": False},
        {"pool": "gap", "gelu": "erf", "epsilon": 1e-5},
        num_classes=3,
    ),
}


def vit_config(case: Case) -> VitConfig:
    """Ours for a case."""
    names = {
        "hidden_size": "width",
        "num_hidden_layers": "depth",
        "num_attention_heads": "num_heads",
        "intermediate_size": "mlp_dim",
        "image_size": "image_size",
        "patch_size": "patch_size",
    }
    shape = {names[name]: value for name, value in case.theirs.items() if name in names}
    return VitConfig(**{**shape, **case.ours, "num_classes": case.num_classes})


def draw_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Weights by name: scales of normalisations around 1, all others around 0."""
    random = np.random.RandomState(seed)
    drawn = {}
    for name in sorted(shapes):
        value = random.standard_normal(shapes[name]).astype(np.float32)
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        drawn[name] = np.float32(around) + np.float32(0.3) * value
    return drawn


def draw_images(height: int, width: int, seed: int) -> np.ndarray:
    """float32[batch, height, width, 3] in [-1, 1]."""
    random = np.random.RandomState(seed)
    return random.uniform(-1.0, 1.0, [BATCH, height, width, 3]).astype(np.float32)


def load(case: Case, path: str, allow=()) -> tuple[Vit, mapping.MappingReport]:
    """Our model with the weights of a file, the way that `mmstack convert` goes."""
    model = Vit(vit_config(case))
    _, opened = weight_formats.open_source(path)
    key_map = weight_formats.find(opened, key_maps.KEY_MAPS)
    weight_formats.check_settings(key_map, model, opened)
    source = weight_formats.canonical(key_map, opened, model)
    places = weight_formats.places_of(key_map, model, source)
    return model, mapping.load(places, source, allow=allow, elsewhere=key_map.elsewhere)


def run(model: Vit, images: np.ndarray) -> dict[str, np.ndarray]:
    """Our outputs under transformers' names."""
    tokens = model(images)
    outputs = {"last_hidden_state": tokens}
    if model.config.num_classes:
        outputs["logits"] = model.classify(tokens)
    elif model.config.pool != "none":
        outputs["pooler_output"] = model.represent(tokens)
    return {name: np.asarray(value) for name, value in outputs.items()}
