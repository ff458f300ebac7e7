"""Weights in the formats of others: opened, their keys found, and written.

A *container* is how arrays lie in files; adding one is adding a line here. A *key map* is what one
code base calls the weights of one kind of model (`key_maps.KeyMap`). Modules of both are imported
only when asked for.
"""

import re
from collections.abc import Sequence

import keras

from mm_models.checkpoints import mapping
from mm_models.checkpoints.containers import foreign_files
from mm_models.checkpoints.key_maps import KeyMap
from mm_models.checkpoints.mapping import Place, Source
from mm_models.checkpoints.renamed_source import RenamedSource
from mm_models.errors import UserError
from mm_models.references import resolve

# The first that recognises a path opens it: what is particular stands before what is general.
CONTAINERS = {
    "mesh_tensorflow": "mm_models.checkpoints.containers.mesh_tensorflow:MeshContainer",
    "tensorflow": "mm_models.checkpoints.containers.object_checkpoint:ObjectCheckpointContainer",
    "safetensors": "mm_models.checkpoints.containers.safetensors:SafetensorsContainer",
    "npz": "mm_models.checkpoints.containers.npz:NpzContainer",
    "t5x": "mm_models.checkpoints.containers.t5x:T5xContainer",
}


def open_source(path: str) -> tuple[str, Source]:
    """Finds out which container lies at `path` and opens it.

    Returns:
        Key of `CONTAINERS`, and the source.

    Raises:
        UserError: nothing is there, or nothing that this project reads.
    """
    for name, reference in CONTAINERS.items():
        container = resolve(reference)()
        if container.recognises(path):
            return name, container.open_source(path)
    raise UserError(foreign_files.explain(path))


def find(container: str, source: Source, key_maps: Sequence[KeyMap]) -> KeyMap:
    """The key map of a source. Raises UserError when it has no known code base's keys."""
    for key_map in key_maps:
        found = any(re.search(key_map.signature, key) for key in source.shapes)
        if key_map.container == container and found:
            return key_map
    some = ", ".join(list(source.shapes)[:3])
    formats = ", ".join(dict.fromkeys(key_map.format for key_map in key_maps))
    raise UserError(
        f"{source.path} has keys such as {some}, which are none of a known format; weights of "
        f"{formats} are read"
    )


def canonical(key_map: KeyMap, source: Source, part: keras.Layer) -> Source:
    """The source with the keys that `places_of` has for `part`."""
    change = key_map.canonical
    return resolve(change)(RenamedSource(source), part) if change else source


def places_of(key_map: KeyMap, part: keras.Layer, source: Source | None = None) -> list[Place]:
    """The places of one model's weights; `source` is canonical.

    Raises:
        UserError: the model has weights that this format has not.
    """
    places = resolve(key_map.places)(part, source)
    held = {id(one.variable) for place in places for one in place.parts}
    homeless = [weight.path for weight in part.weights if id(weight) not in held]
    if homeless:
        names = key_map.places.partition(":")[0].rpartition(".")[2]
        raise UserError(
            f"format {key_map.format} (as {names} has it) knows no {', '.join(homeless[:3])}; give "
            f"the {type(part).__name__} a config of which such weights exist"
        )
    return places


def check_settings(key_map: KeyMap, part: keras.Layer, source: Source) -> None:
    """See `KeyMap.check`."""
    if key_map.check:
        resolve(key_map.check)(part, source)


def holds(key_map: KeyMap, layer: keras.Layer) -> bool:
    """Whether an export of `layer` may be of this map."""
    if not isinstance(layer, resolve(key_map.part)):
        return False
    return not key_map.fits or resolve(key_map.fits)(layer)


def write(key_map: KeyMap, part: keras.Layer, path: str, *, step: int) -> str:
    """Writes the weights of `part`, with their settings, and returns what to open.

    Raises:
        UserError: the map has not all weights, or `path` exists or cannot be written.
    """
    values = mapping.stored_values(places_of(key_map, part))
    settings = resolve(key_map.settings)(part) if key_map.settings else None
    container = resolve(CONTAINERS[key_map.container])()
    return container.write(values, path, step=step, settings=settings)
