"""The formats that weights come in: which files they are, and who knows their keys.

Adding a format is adding a line to one of the two tables. Modules are imported only when asked for.

A *container* is how arrays lie in files. Its module has

- `recognises(path) -> bool`, by what lies there, not by a file's ending, and cheap,
- `open_source(path) -> mapping.Source`, which raises UserError for a damaged one,
- `write(values, path, *, step, settings) -> str`: writes the (key, array) pairs, appearing by
  rename, and returns what to open; `settings` is the config that the format keeps beside its
  weights, or None. Raises UserError where something exists already.

A *key map* is what one code base calls the weights of one kind of model.
"""

import dataclasses
import importlib
import re
from collections.abc import Iterable
from typing import Any

import keras

from mm_models.checkpoints.containers.renamed import View
from mm_models.checkpoints.mapping import Place, Source
from mm_models.errors import UserError

# The first that recognises a path opens it: what is particular stands before what is general.
CONTAINERS = {
    "mesh_tensorflow": "mm_models.checkpoints.containers.mesh_tensorflow",
    "tensorflow": "mm_models.checkpoints.containers.object_checkpoint",
    "safetensors": "mm_models.checkpoints.containers.safetensors",
    "npz": "mm_models.checkpoints.containers.npz",
    "t5x": "mm_models.checkpoints.containers.t5x",
}


@dataclasses.dataclass(frozen=True)
class KeyMap:
    """One code base's names for one kind of model; functions and classes as `module:name`.

    Attributes:
        format: what users call it, as in `--to`.
        container: key of `CONTAINERS`.
        signature: regular expression, found in a key of every such file and in no key of another.
        part: class of the models or layers whose weights they are.
        places: (part, source or None) -> list of Place; None when exporting. Raises UserError for a
            model that this code base does not have.
        view: (views.View of the source, part) -> Source, with the keys that `places` uses: what
            brings the variants of a format, and what `part` can not hold as it is, to one form.
            Empty: as they are.
        fits: part -> bool, whether this map can hold it in an export; empty: always.
        check: (part, source as opened) -> None; raises UserError where sizes, or settings beside
            the weights, are those of another model. Empty: shapes alone say what does not fit.
        settings: part -> dict, what `write` puts beside the weights; empty: nothing.
        elsewhere: see `mapping.load`, on keys after the view.
    """

    format: str
    container: str
    signature: str
    part: str
    places: str
    view: str = ""
    fits: str = ""
    check: str = ""
    settings: str = ""
    elsewhere: str = ""

    def is_of(self, source: Source) -> bool:
        """Whether a source of this container has this map's keys."""
        return any(re.search(self.signature, key) for key in source.shapes)

    def part_class(self) -> type:
        """See `part`."""
        return resolve(self.part)

    def canonical(self, source: Source, part: keras.Layer) -> Source:
        """The source with the keys that `places_of` has for `part`."""
        return resolve(self.view)(View(source), part) if self.view else source

    def places_of(self, part: keras.Layer, source: Source | None = None) -> list[Place]:
        """The map for one model; `source` is canonical.

        Raises:
            UserError: the model has weights that this format has not.
        """
        places = resolve(self.places)(part, source)
        held = {id(one.variable) for place in places for one in place.parts}
        homeless = [weight.path for weight in part.weights if id(weight) not in held]
        if homeless:
            raise UserError(
                f"format {self.format} (as {self.places.partition(':')[0].rpartition('.')[2]} has "
                f"it) knows no {', '.join(homeless[:3])}; give the {type(part).__name__} a config "
                "of which such weights exist"
            )
        return places

    def check_settings(self, part: keras.Layer, source: Source) -> None:
        """See `check`."""
        if self.check:
            resolve(self.check)(part, source)

    def settings_of(self, part: keras.Layer) -> dict[str, Any] | None:
        """What lies beside the weights of `part`."""
        return resolve(self.settings)(part) if self.settings else None

    def write(self, values: Iterable, path: str, *, step: int, settings: dict | None) -> str:
        """Writes a file of this map's container; see the module."""
        module = importlib.import_module(CONTAINERS[self.container])
        return module.write(values, path, step=step, settings=settings)

    def holds(self, part: keras.Layer) -> bool:
        """Whether an export of `part` may be of this map."""
        return not self.fits or resolve(self.fits)(part)


_VIT = "mm_models.backbones.vit:Vit"
_T5 = "mm_models.backbones.t5:T5"

KEY_MAPS = (
    KeyMap(
        format="vatt",
        container="tensorflow",
        signature=r"^model/layer_with_weights-0/",
        part="mm_models.vatt.encoders:VattEncoders",
        places="mm_models.vatt.published_keys:places",
    ),
    KeyMap(
        format="big_vision",
        container="npz",
        signature=r"(^|/)Transformer/encoder_norm/",
        part=_VIT,
        places="mm_models.checkpoints.keys.big_vision_vit:places",
        view="mm_models.checkpoints.keys.big_vision_vit:canonical",
        check="mm_models.checkpoints.keys.big_vision_vit:check",
        elsewhere=r"^(txt/|t$|b$)",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"(^|\.)layernorm_before\.weight$",
        part=_VIT,
        places="mm_models.checkpoints.keys.huggingface_vit_names:places",
        view="mm_models.checkpoints.keys.huggingface_vit_names:canonical",
        fits="mm_models.checkpoints.keys.huggingface_vit_names:fits",
        check="mm_models.checkpoints.keys.huggingface_vit_names:check",
        settings="mm_models.checkpoints.keys.huggingface_vit_names:settings",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"(^|\.)embeddings\.patch_embedding\.weight$",
        part=_VIT,
        places="mm_models.checkpoints.keys.huggingface_siglip:places",
        view="mm_models.checkpoints.keys.huggingface_siglip:canonical",
        fits="mm_models.checkpoints.keys.huggingface_siglip:fits",
        check="mm_models.checkpoints.keys.huggingface_siglip:check",
        settings="mm_models.checkpoints.keys.huggingface_siglip:settings",
        elsewhere=r"^(text_model\.|logit_(scale|bias)$)",
    ),
    KeyMap(
        format="huggingface",
        container="safetensors",
        signature=r"^encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight$",
        part=_T5,
        places="mm_models.checkpoints.keys.huggingface_t5:places",
        check="mm_models.checkpoints.keys.huggingface_t5:check",
        settings="mm_models.checkpoints.keys.huggingface_t5:settings",
        # Old files have a table that cross-attention never reads.
        elsewhere=r"\.EncDecAttention\.relative_attention_bias\.weight$",
    ),
    KeyMap(
        format="t5x",
        container="t5x",
        signature=r"^token_embedder/embedding$",
        part=_T5,
        places="mm_models.checkpoints.keys.t5x_t5:places",
        view="mm_models.checkpoints.keys.t5x_t5:canonical",
    ),
    KeyMap(
        format="mesh_tensorflow",
        container="mesh_tensorflow",
        signature=r"^shared/embedding$",
        part=_T5,
        places="mm_models.checkpoints.keys.mesh_t5:places",
    ),
)
FORMATS = tuple(dict.fromkeys(key_map.format for key_map in KEY_MAPS))


def resolve(reference: str) -> Any:
    """Imports `module:name` and returns the object."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def open_source(path: str) -> tuple[str, Source]:
    """Finds out which container lies at `path` and opens it.

    Returns:
        Key of `CONTAINERS`, and the source.

    Raises:
        UserError: nothing is there, or nothing that this project reads.
    """
    for container, module in CONTAINERS.items():
        found = importlib.import_module(module)
        if found.recognises(path):
            return container, found.open_source(path)
    from mm_models.checkpoints.containers import foreign_files

    raise UserError(foreign_files.explain(path))


def find(container: str, source: Source) -> KeyMap:
    """The key map of a source. Raises UserError when it has no known code base's keys."""
    for key_map in KEY_MAPS:
        if key_map.container == container and key_map.is_of(source):
            return key_map
    some = ", ".join(list(source.shapes)[:3])
    raise UserError(
        f"{source.path} has keys such as {some}, which are none of a known format; weights of "
        f"{', '.join(FORMATS)} are read"
    )
