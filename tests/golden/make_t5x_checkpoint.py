"""Writes t5x_checkpoint.tar.xz: scanned T5X checkpoints as T5X itself lays them out.

    python tests/golden/make_t5x_checkpoint.py      # needs tensorstore and msgpack

TensorStore writes the arrays and msgpack the file, with the settings that T5X gives them. Values
follow from the names of the parameters. `scalable` is T5X's own layout with scanned layers, chunks
smaller than arrays, one array in bfloat16 and one inside the file; `flaxformer` is that of umT5.
"""

import pathlib
import re
import sys
import tarfile
import tempfile

import ml_dtypes
import msgpack
import numpy as np
import tensorstore

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.mm_models.checkpoints import t5_cases  # noqa: E402

SHAPE = t5_cases.T5X_SHAPE
ENCODER, DECODER = SHAPE["num_encoder_layers"], SHAPE["num_decoder_layers"]
DIM, HEADS, HEAD_DIM, MLP = (SHAPE[n] for n in ("width", "num_heads", "head_dim", "mlp_dim"))
INNER = HEADS * HEAD_DIM
HALF_PRECISION = "decoder/logits_dense/kernel"
CHUNKED = r"embedd|logits_dense|attention.out"  # these have several chunks, some cut off by the end
INLINE = "encoder/encoder_norm/scale"


def _layer(scope: str, layers: int, attentions: dict[str, str], four_axes: bool) -> dict:
    shapes = {}
    rows = (DIM, layers, HEADS, HEAD_DIM) if four_axes else (DIM, layers, INNER)
    last = (HEADS, layers, HEAD_DIM, DIM) if four_axes else (INNER, layers, DIM)
    for attention, norm in attentions.items():
        shapes |= {f"{scope}/{attention}/{name}/kernel": rows for name in ("query", "key", "value")}
        shapes |= {f"{scope}/{attention}/out/kernel": last, f"{scope}/{norm}/scale": (DIM, layers)}
    shapes |= {f"{scope}/mlp/{name}/kernel": (DIM, layers, MLP) for name in ("wi_0", "wi_1")}
    shapes[f"{scope}/mlp/wo/kernel"] = (MLP, layers, DIM)
    shapes[f"{scope}/pre_mlp_layer_norm/scale"] = (DIM, layers)
    return shapes


def shapes(flaxformer: bool) -> dict[str, tuple[int, ...]]:
    """Of every parameter, by path below `target`."""
    scope = {side: side if flaxformer else "layers" for side in ("encoder", "decoder")}
    attention = {"attention": "pre_attention_layer_norm"}
    attentions = {
        "self_attention": "pre_self_attention_layer_norm",
        "encoder_decoder_attention": "pre_cross_attention_layer_norm",
    }
    found = {
        "token_embedder/embedding": (SHAPE["vocabulary_size"], DIM),
        **_layer(f"encoder/{scope['encoder']}", ENCODER, attention, flaxformer),
        **_layer(f"decoder/{scope['decoder']}", DECODER, attentions, flaxformer),
        "encoder/encoder_norm/scale": (DIM,),
        "decoder/decoder_norm/scale": (DIM,),
        "decoder/logits_dense/kernel": (DIM, SHAPE["vocabulary_size"]),
    }
    for side, layers in (("encoder", ENCODER), ("decoder", DECODER)):
        stacked = f"{side}/{scope[side]}/relpos_bias/rel_embedding"
        if flaxformer:
            found[stacked] = (HEADS, layers, 32)
        else:
            found[f"{side}/relpos_bias/rel_embedding"] = (HEADS, 32)
    return found


def _write_array(folder: pathlib.Path, name: str, value: np.ndarray) -> dict:
    whole = not re.search(CHUNKED, name)
    spec = {
        "driver": "zarr",
        "dtype": value.dtype.name,
        "kvstore": {"driver": "file", "path": name},
        "metadata": {
            "shape": list(value.shape),
            "chunks": list(value.shape) if whole else [-(-size * 2 // 3) for size in value.shape],
            "compressor": {"id": "gzip", "level": 1},
        },
    }
    there = {**spec, "kvstore": {"driver": "file", "path": str(folder / name)}}
    tensorstore.open(there, create=True).result().write(value).result()
    return spec


def _array_extension(value: np.ndarray) -> msgpack.ExtType:
    content = (value.shape, value.dtype.name, value.tobytes())
    return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))


def write(folder: pathlib.Path, flaxformer: bool) -> None:
    """One checkpoint of step 1000."""
    folder.mkdir(parents=True)
    target = {}
    for key, shape in shapes(flaxformer).items():
        value = t5_cases.named_value(key, shape)
        if key == HALF_PRECISION:
            value = value.astype(ml_dtypes.bfloat16)
        *parents, last = key.split("/")
        node = target
        for parent in parents:
            node = node.setdefault(parent, {})
        if key == INLINE:
            node[last] = _array_extension(value)
        else:
            node[last] = _write_array(folder, f"target.{key.replace('/', '.')}", value)
    state = {"step": _array_extension(np.array(1000, np.int32)), "param_states": {}}
    content = {"version": 3, "optimizer": {"target": target, "state": state}}
    (folder / "checkpoint").write_bytes(msgpack.packb(content, strict_types=True))


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("t5x_checkpoint.tar.xz")
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        write(root / "scalable", False)
        write(root / "flaxformer", True)
        with tarfile.open(path, "w:xz") as archive:
            archive.add(root, ".")
    print(f"{path}: {path.stat().st_size} bytes")
