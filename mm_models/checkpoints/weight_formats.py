"""Weights in the formats of others: opened, their keys found, and written.

A *container* is how arrays lie in files; adding one is adding a line here. A *key map* is what one
code base calls the weights of one kind of model (`key_maps.KeyMap`). Modules of both are imported
only when asked for.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np

from mm_models.checkpoints import mapping
from mm_models.checkpoints.containers import foreign_files, number_types
from mm_models.checkpoints.containers.container import Container, Extras
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
    "ocdbt": "mm_models.checkpoints.containers.ocdbt:OcdbtContainer",
}


def open_source(path: str) -> tuple[str, Source]:
    """Finds out which container lies at `path` and opens it.

    Returns:
        Key of `CONTAINERS`, and the source.

    Raises:
        UserError: nothing is there, or nothing that this project reads.
    """
    try:
        for name, reference in CONTAINERS.items():
            container = resolve(reference)()
            if container.recognises(path):
                return name, container.open_source(path)
        raise UserError(foreign_files.explain(path))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error}); mend that, or copy the weights elsewhere"
        ) from error


def find(source: Source, key_maps: Sequence[KeyMap]) -> KeyMap:
    """The key map of a source, whatever the container that its arrays lie in.

    Raises UserError when it has no known code base's keys.
    """
    for key_map in key_maps:
        if any(re.search(key_map.signature, key) for key in source.shapes):
            return key_map
    some = ", ".join(list(source.shapes)[:3]) or "none at all"
    formats = ", ".join(dict.fromkeys(key_map.format for key_map in key_maps))
    raise UserError(
        f"{source.path} has keys such as {some}, which are none of a known format; weights of "
        f"{formats} are read"
    )


def canonical(key_map: KeyMap, source: Source, part: keras.Layer) -> Source:
    """The source with the keys that `places_of` has for `part`."""
    change = key_map.canonical
    return resolve(change)(RenamedSource(source), part) if change else source


def known_weights(key_map: KeyMap, part: keras.Layer) -> list[keras.Variable]:
    """The weights of a part that the map's code base knows (see `KeyMap.apart`)."""
    if not key_map.apart:
        return list(part.weights)
    apart = {id(weight) for weight in resolve(key_map.apart)(part)}
    return [weight for weight in part.weights if id(weight) not in apart]


def places_of(key_map: KeyMap, part: keras.Layer, source: Source | None = None) -> list[Place]:
    """The places of one model's weights; `source` is canonical.

    Raises:
        UserError: the model has weights that this format has not.
    """
    places = resolve(key_map.places)(part, source)
    held = {id(one.variable) for place in places for one in place.parts}
    known = known_weights(key_map, part)
    homeless = [weight.path for weight in known if id(weight) not in held]
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


@dataclasses.dataclass(frozen=True)
class Output:
    """How weights are written.

    Attributes:
        step: training step of the weights.
        dtype: float32, float16 or bfloat16, in which numbers with a fraction are written; empty: as
            they are.
        shard_bytes: see `container.Extras`.
        vocabulary: content of the SentencePiece model that goes along, where the format has a place
            for one; empty for none.
    """

    step: int = 0
    dtype: str = ""
    shard_bytes: int = 0
    vocabulary: bytes = b""


def write(key_map: KeyMap, part: keras.Layer, path: str, output: Output = Output()) -> str:
    """Writes the weights of `part`, with their settings, and returns what to open.

    Raises:
        UserError: the map has not all weights, one does not fit into `dtype`, or `path` exists or
            cannot be written.
    """
    values = mapping.stored_values(places_of(key_map, part))
    if output.dtype:
        values = _cast(values, output.dtype)
    extras = Extras(
        step=output.step,
        settings=resolve(key_map.settings)(part) if key_map.settings else None,
        files=resolve(key_map.files)(part, output.vocabulary) if key_map.files else {},
        shard_bytes=output.shard_bytes,
    )
    return container_of(key_map).write(values, path, extras)


def container_of(key_map: KeyMap) -> Container:
    """The container in which the code base of a map keeps its weights."""
    return resolve(CONTAINERS[key_map.container])()


def _cast(values: Iterable[tuple[str, np.ndarray]], dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Raises UserError for a number that becomes infinite."""
    kind = number_types.named(dtype)
    for key, value in values:
        if not np.issubdtype(value.dtype, np.floating) and value.dtype != number_types.BFLOAT16:
            yield key, value
            continue
        with np.errstate(over="ignore"):
            cast = value.astype(kind)
        if not np.array_equal(np.isfinite(cast), np.isfinite(value)):
            raise UserError(
                f"{key} has numbers up to {np.abs(value).max():.3g}, which {dtype} cannot hold; "
                "write bfloat16 or float32"
            )
        yield key, cast
